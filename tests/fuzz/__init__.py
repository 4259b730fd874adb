"""The whole stack against the document it serves: what is shown is accepted, what is forbidden refused, nothing breaks.

``python -m tests.fuzz`` starts a stack of its own in .stack-fuzz, lets schemathesis send every kind of request, and then
looks into the databases: whatever was asked, nothing may be left half done.
"""
