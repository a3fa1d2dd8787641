package trace

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"hoplite/mail/received"
)

//go:embed providers.txt
var providersText string

// provider is a company that hosts mailboxes. The names and addresses of its
// hosts identify the lines of its internal steps.
type provider struct {
	name    string   // for Options.Mailbox
	title   string   // shown to readers
	aliases []string // other accepted values of Options.Mailbox
	domains []string // of the names in its by clauses
	// internal lists the networks that its hosts use among themselves,
	// outbound those from which it sends for all customers. If both are
	// empty, only names are compared.
	internal, outbound []netip.Prefix
}

// pool is an organisation whose hosts use several domains internally.
type pool struct {
	organisation string
	disciplined  bool // it runs its own time servers
}

// providerTable is the content of providers.txt.
type providerTable struct {
	providers []*provider
	pools     map[string]pool // by domain
}

var known = func() providerTable {
	t, err := parseProviders(providersText)
	if err != nil {
		panic(err) // the embedded file is malformed, which a test rules out
	}
	return t
}()

// parseProviders parses the rows of providers.txt.
func parseProviders(text string) (providerTable, error) {
	t := providerTable{pools: map[string]pool{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		row := strings.Split(line, "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if len(row) < 4 {
			return t, fmt.Errorf("row %q: too few columns", line)
		}
		if err := t.row(row); err != nil {
			return t, fmt.Errorf("row %q: %w", line, err)
		}
	}
	return t, nil
}

func (t *providerTable) row(row []string) error {
	switch row[0] {
	case "provider":
		t.providers = append(t.providers, &provider{name: row[1], title: row[2], aliases: strings.Fields(row[3])})
		return nil
	case "pool":
		organisation, discipline, _ := strings.Cut(row[2], " ")
		t.pools[row[1]] = pool{organisation, discipline == "time"}
		return nil
	}
	if len(t.providers) == 0 {
		return errors.New("no provider before it")
	}
	p := t.providers[len(t.providers)-1]
	var err error
	switch row[0] {
	case "domain":
		p.domains = append(p.domains, row[1])
	case "internal":
		p.internal, err = appendPrefixes(p.internal, row[1])
	case "outbound":
		p.outbound, err = appendPrefixes(p.outbound, row[1])
	default:
		err = fmt.Errorf("there is no kind %q", row[0])
	}
	return err
}

func appendPrefixes(to []netip.Prefix, list string) ([]netip.Prefix, error) {
	for text := range strings.FieldsSeq(list) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return to, err
		}
		to = append(to, p)
	}
	return to, nil
}

// Mailboxes returns the valid values of Options.Mailbox.
func Mailboxes() []string {
	var names []string
	for _, p := range known.providers {
		names = append(names, p.name)
	}
	return names
}

// KnownMailbox reports whether name, which may be an alias, is valid for
// Options.Mailbox.
func KnownMailbox(name string) bool { return providerNamed(name) != nil }

// providerNamed returns the provider with that name or alias, or nil.
func providerNamed(name string) *provider {
	for _, p := range known.providers {
		if strings.EqualFold(p.name, name) {
			return p
		}
		for _, a := range p.aliases {
			if strings.EqualFold(a, name) {
				return p
			}
		}
	}
	return nil
}

// providerOf returns the provider whose host wrote a line, or nil. Private IPv4
// addresses cannot identify a provider.
func providerOf(l *received.Line) *provider {
	for _, p := range known.providers {
		if p.ownsName(l.By.Name) || l.By.Addr.Is6() && p.internalAddr(l.By.Addr) {
			return p
		}
	}
	return nil
}

func (p *provider) ownsName(host string) bool {
	for _, d := range p.domains {
		if received.Under(host, d) {
			return true
		}
	}
	return false
}

// owns reports whether one of the provider's hosts wrote the line.
func (p *provider) owns(l *received.Line) bool {
	return p.ownsName(l.By.Name) || l.By.Addr.IsValid() && p.internalAddr(l.By.Addr)
}

func (p *provider) internalAddr(a netip.Addr) bool { return within(p.internal, a) }

// holds reports whether the address belongs to the provider.
func (p *provider) holds(a netip.Addr) bool { return within(p.internal, a) || within(p.outbound, a) }

func within(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
