"""Incidents worth rehearsing: each is made on purpose, shown with what to watch, and ends with a verdict.

rehearsal          what one consists of; what it foretells
playing            one of them while it is played
running            before, play, after, verdict; the stack is left as it was found
measuring, figures what is counted before and after
auditing           whether anything was broken by it
screen, report     how it is told: to people, to programmes
crowd              very many requests at a pace
naive_shop         how it would be done without care, for comparison
catalogue          all of them; the other modules are one each
"""
