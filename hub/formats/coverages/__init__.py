"""Eligibility as a form that is posted, and a "coverage" that is fetched as JSON: plans with benefits, amounts by network.

form.py     a question as form fields
answer.py   a coverage as the model of a 271, so that all that follows is the same
codec.py    both as a format for mappings

The fields are those of vendors.md 8.1 in research; what is marked [M] there is read in every spelling that was seen.
"""
