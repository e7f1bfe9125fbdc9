"""Jobs: from job.yaml to checked values, and the durable folder of each run.

`document` reads YAML with line numbers, `spec` says what a job may hold, `loading` brings both
together and explains every mistake, `runs` keeps what a run has finished so that it can be resumed.

Not covered: what the steps of a job do. That is told by `ayni.workflows`.
"""
