"""Mail (RFC 5322, MIME): read without trust, within bounds, and written.

fields.py    the fields of a header
reading.py   what a mail consists of: header, parts, what is wrong with it
receipts.py  what became of a mail of ours: MDN (RFC 8098) and DSN (RFC 3464)
codec.py     the format `mail`: what a mail is filed under, how mappings and filters read it
writing.py   making a mail
"""
