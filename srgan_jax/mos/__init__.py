"""The paper's opinion test: images scored by people (section 3.3, figure 5).

`prepare` makes a study, a folder of images; `serve` shows them to raters and
keeps their scores; `report` evaluates the scores. docs/opinion_scores.md tells
how a study is run.
"""
