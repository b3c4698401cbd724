"""A fuzzer of the running server: `python -m tests.fuzz --help`.

`request` is what is sent and kept in files, `connection` sends it. `seeds`, `pictures`, `framing`
and `floods` make requests, `mutate` changes them, `corpus` keeps those worth it. `oracle` and
`agreement` judge the answers, `state` and `livez` watch the process. `probe` tries one request
alone, `minimise` makes it small, `campaign` runs it all, `parsers` is the coverage-guided part.
"""
