"""The review console: pages for people, rendered here and helped by small modules in the browser."""
