"""How videos in an object store become jobs: bucket events, manifests, and sweeps for what events missed."""
