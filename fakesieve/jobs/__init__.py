"""The life of a job: taken in, handed out, finished, and brought back when something died."""
