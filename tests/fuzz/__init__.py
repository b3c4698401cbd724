"""A fuzzer of the running server: `python -m tests.fuzz --help`.

`request` is what is sent and kept in files, `connection` sends it, `seeds`, `pictures`, `framing`
and `largest` make requests, `mutate` changes them, `oracle` and `agreement` judge the answers,
`state` and `pauses` watch the process, `minimise` makes a find small, `campaign` runs it all,
`parsers` is the coverage-guided part.
"""
