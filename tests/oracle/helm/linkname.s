// This file lets functions.go declare a function without a body, which go:linkname binds.
