"""The site: what is committed, as pages that need neither Python nor a network. ./reproduce.sh site builds it."""
