"""The job store on Postgres, by the same parts as its protocol."""
