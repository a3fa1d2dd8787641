// Package hoplite holds nothing but the configuration that the program runs
// with when it is given none.
package hoplite

import _ "embed"

// Config is the text of relay.hcl as it stands beside this file.
//
//go:embed relay.hcl
var Config string
