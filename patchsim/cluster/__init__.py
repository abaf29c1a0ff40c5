"""A search spread over processes and machines.

It uses `matching`, `scanning` and what lies below; the command line uses it. `work` has what is
done in another process. It knows nothing of what carries tasks from one process to another.
"""
