"""HTTP API, annotation-tool protocols, web page, Python client and command line. Never imports torch itself."""
