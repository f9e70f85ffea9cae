"""The JSON form of 270 and 271 that clearinghouses offer as "eligibility v3": a field for each element, codes beside words.

names.py    which name in JSON is which code in X12
request.py  a question as JSON
answer.py   an answer as the model of a 271, so that all that follows is the same
codec.py    both as a format for mappings

What the fields are called is vendors.md 8.2 in research; where copies of the vendors' pages differ, both spellings are read.
"""
