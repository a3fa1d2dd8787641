// Package check finds the mistakes of a configuration and describes in words
// what it does.
//
// Examine applies the rules between blocks (names.go, sockets.go, routes.go,
// relaying.go, exposure.go, upstreams.go, senders.go: pure functions of the configuration)
// and then opens what the file refers to: keys, certificates, lists, folders
// (inspect.go, order.go), accounts and aliases (addresses.go). It changes nothing
// and uses no network. OpenRelay tries the address forms by which open relays are
// found (openrelay.go); Plan prints what each listener, chain and hop does
// (plan.go); Probe asks upstreams, milters and DNS lists (probe.go). What one
// attribute may hold is checked by the package that owns the block.
package check

import (
	"fmt"
	"io"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
)

// Examine adds everything that is wrong with the configuration, in itself and
// in what it refers to, to diags.
func Examine(cfg *config.Config, diags *conf.Diagnostics) {
	// Names that are missing because their block did not parse would only
	// confuse.
	if diags.Mistakes() == 0 {
		rules(cfg, diags)
	}
	inspect(cfg, diags)
	if known := readAddresses(cfg); known != nil {
		for _, ch := range cfg.Chain {
			checkRelayRoutes(cfg, ch, known, diags)
		}
	}
}

// rules finds mistakes that no block can find alone.
func rules(cfg *config.Config, diags *conf.Diagnostics) {
	checkHostnames(cfg, diags)
	checkNames(cfg, diags)
	checkMaildrops(cfg, diags)
	checkSockets(cfg, diags)
	checkExposure(cfg, diags)
	checkUpstreams(cfg, diags)
	checkSenders(cfg, diags)
	for _, l := range cfg.MailListeners() {
		checkRelaying(cfg, l, diags)
	}
	for _, ch := range cfg.Chain {
		checkRoutes(cfg, ch, diags)
	}
}

// Report prints the mistakes of a configuration, or its plan. It reports
// whether there is no mistake.
func Report(w io.Writer, cfg *config.Config, file *conf.File) bool {
	if file.Parsed() {
		Examine(cfg, file.Diags)
	}
	tried, listeners := 0, 0
	if file.Diags.Mistakes() == 0 {
		tried, listeners = OpenRelay(cfg, file.Diags)
	}
	file.Diags.Write(w)
	if n := file.Diags.Mistakes(); n > 0 {
		fmt.Fprintf(w, "\n%s: %s.\n", file.Name, terminal.Count(n, "mistake"))
		return false
	}
	if len(file.Diags.All()) > 0 {
		fmt.Fprintln(w)
	}
	Plan(w, cfg)
	fmt.Fprintln(w)
	if listeners > 0 {
		terminal.Indent(w, "", "  ", fmt.Sprintf("Open-relay test: %s at %s, none is relayed.",
			terminal.Count(tried, "address form"), terminal.Count(listeners, "listener")))
	}
	terminal.Indent(w, "", "  ", file.Name+": no mistakes.")
	return true
}
