"""The whole stack against the document it serves: what that allows is accepted, what it forbids refused.

``python -m tests.fuzz`` starts a stack of its own in .stack-fuzz, lets schemathesis send every kind of request, and
then looks into the databases: whatever was asked, nothing may be left half done.
"""
