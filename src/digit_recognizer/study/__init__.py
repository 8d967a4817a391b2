"""Many runs, and what their records say.

run                one run of a recipe: train, score, record; it resumes where it was stopped
sweep              every seed of a recipe, and the ensemble of them
executors          where runs are computed: this process, processes of this machine, a Dask cluster
cross_validation   compares recipes on held-out training digits
record_store       the files of records: paths, reading, validation
reproduction       published numbers against the spread of seeds, and what the sources leave unspecified
tables             Markdown tables of the records
verify             trains the run of a record again and compares
plots              figures of the records
"""
