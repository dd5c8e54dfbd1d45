"""Accuracy on real tables, of our defaults and of the peers'.

``python -m tests.benchmarks.accuracy --install`` fetches the tables, and
``python -m tests.benchmarks.accuracy`` fits, scores and prints. In reading order:
`sets` (the data), `protocol` (rows and scores), `columns` (what models are given),
`models` (ours and the peers), `runs` (fits, kept on disk), `gains` (averages, ranks and
tests), `report` (tables).
"""
