// Package check finds mistakes in a configuration and prints a description of
// its effect.
//
// Start with Run. Examine applies the rules between blocks (names.go,
// sockets.go, routes.go, relaying.go, exposure.go, upstreams.go, senders.go, policies.go:
// pure functions of the configuration) and then opens everything the file
// refers to: keys, certificates, lists, folders (inspect.go, order.go),
// accounts and aliases (addresses.go). It changes nothing and uses no network.
// OpenRelay tries the address forms that are used to find open relays
// (openrelay.go); Plan prints what each listener, chain and hop does (plan.go,
// planparts.go); Probe asks upstreams, milters and DNS lists (probe.go). The
// value of a single attribute is checked by the package that owns the block.
package check

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
)

// Examine adds all mistakes in the configuration, and in the files it refers
// to, to diags.
func Examine(cfg *config.Config, diags *conf.Diagnostics) {
	// A block that could not be parsed would cause misleading reports about
	// missing names.
	if diags.Mistakes() == 0 {
		rules(cfg, diags)
	}
	inspect(cfg, diags)
	if known, err := readAddresses(cfg); err == nil {
		for _, ch := range cfg.Chain {
			checkRelayRoutes(cfg, ch, known, diags)
		}
	}
}

// rules finds mistakes that involve several blocks.
func rules(cfg *config.Config, diags *conf.Diagnostics) {
	checkHostnames(cfg, diags)
	checkNames(cfg, diags)
	checkMaildrops(cfg, diags)
	checkSockets(cfg, diags)
	checkExposure(cfg, diags)
	checkUpstreams(cfg, diags)
	checkOldTLS(cfg, diags)
	checkSenders(cfg, diags)
	checkPolicies(cfg, time.Now(), diags)
	checkPolicyHosts(cfg, diags)
	checkReports(cfg, diags)
	for _, l := range cfg.MailListeners() {
		checkRelaying(cfg, l, diags)
	}
	for _, ch := range cfg.Chain {
		checkRoutes(cfg, ch, diags)
	}
}

// Result holds everything that check finds in a configuration.
type Result struct {
	File     string    `json:"file"`
	Mistakes int       `json:"mistakes"`
	Warnings int       `json:"warnings"`
	Findings []Finding `json:"findings"`
	// RelayForms are the address forms that were tried, at RelayListeners listeners.
	RelayForms     int `json:"relay_forms"`
	RelayListeners int `json:"relay_listeners"`
	// Plan describes the effect of the configuration, line by line. It is empty
	// if there are mistakes.
	Plan []string `json:"plan"`
	// Probe is what Probe printed.
	Probe []string `json:"probe,omitempty"`

	diags *conf.Diagnostics
	cfg   *config.Config
}

// Finding is a mistake or a warning.
type Finding struct {
	Severity string `json:"severity"` // mistake or warning
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Text     string `json:"text"`
	Advice   string `json:"advice,omitempty"`
}

// Run examines a configuration and tests it for an open relay.
func Run(cfg *config.Config, file *conf.File) *Result {
	r := &Result{File: file.Name, Findings: []Finding{}, Plan: []string{}, diags: file.Diags, cfg: cfg}
	if file.Parsed() {
		Examine(cfg, file.Diags)
	}
	if file.Diags.Mistakes() == 0 {
		r.RelayForms, r.RelayListeners = OpenRelay(cfg, file.Diags)
	}
	for _, d := range file.Diags.All() {
		f := Finding{"mistake", d.Where.Filename, d.Where.Start.Line, d.Where.Start.Column, d.Summary, d.Detail}
		if d.Warning {
			f.Severity = "warning"
			r.Warnings++
		} else {
			r.Mistakes++
		}
		r.Findings = append(r.Findings, f)
	}
	if r.Mistakes == 0 {
		var text bytes.Buffer
		plan{w: &text, cfg: cfg, unwrapped: true}.all()
		r.Plan = strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	}
	return r
}

// Print prints the findings and, if there are no mistakes, the plan.
func (r *Result) Print(w io.Writer) {
	r.diags.Write(w)
	if r.Mistakes > 0 {
		fmt.Fprintf(w, "\n%s: %s.\n", r.File, terminal.Count(r.Mistakes, "error"))
		return
	}
	if len(r.Findings) > 0 {
		fmt.Fprintln(w)
	}
	Plan(w, r.cfg)
	fmt.Fprintln(w)
	if r.RelayListeners > 0 {
		terminal.Indent(w, "", "  ", fmt.Sprintf("Open-relay test: %s at %s, none is relayed.",
			terminal.Count(r.RelayForms, "address form"), terminal.Count(r.RelayListeners, "listener")))
	}
	summary := "no errors"
	if r.Warnings > 0 {
		summary += ", " + terminal.Count(r.Warnings, "warning")
	}
	terminal.Indent(w, "", "  ", fmt.Sprintf("%s: %s.", r.File, summary))
}
