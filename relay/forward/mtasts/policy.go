// Package mtasts reads a domain's MTA-STS policy (RFC 8461), which lists the
// mail servers that may be used and may require them to present a valid
// certificate. Cache fetches policies, refreshes them, and keeps them across
// restarts.
//
// Enforcing a policy is left to package forward; DANE has precedence.
package mtasts

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hoplite/mail/safe"
)

// Mode is the mode of a policy.
type Mode string

// The modes of RFC 8461, 5.
const (
	Enforce Mode = "enforce"
	Testing Mode = "testing"
	None    Mode = "none"
)

// Policy is the content of a domain's policy file.
type Policy struct {
	Mode   Mode          `json:"mode"`
	MX     []string      `json:"mx"`
	MaxAge time.Duration `json:"max_age"`
}

// Limits on a policy. RFC 8461, 3.2 allows a max_age of up to about a year.
const (
	maxPolicySize = 64 << 10
	maxMX         = 100
	maxMaxAge     = 31557600 * time.Second
)

// ParsePolicy parses a policy file (RFC 8461, 3.2).
func ParsePolicy(text string) (Policy, error) {
	var p Policy
	seen := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key != "mx" && seen[key] {
			continue // the first occurrence of a repeated field applies
		}
		first := len(seen) == 0
		seen[key] = true
		switch {
		case first && (key != "version" || value != "STSv1"):
			return p, errors.New("the policy does not begin with version: STSv1")
		case key == "mode":
			p.Mode = Mode(value)
		case key == "mx" && len(p.MX) < maxMX:
			p.MX = append(p.MX, strings.ToLower(strings.TrimSuffix(value, ".")))
		case key == "max_age":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return p, fmt.Errorf("the policy's max_age %q is not a number of seconds", safe.Log(value))
			}
			p.MaxAge = min(time.Duration(n)*time.Second, maxMaxAge)
		}
	}
	switch {
	case lines.Err() != nil:
		return p, lines.Err()
	case p.Mode != Enforce && p.Mode != Testing && p.Mode != None:
		return p, fmt.Errorf("the policy's mode %q is unknown", safe.Log(string(p.Mode)))
	case !seen["max_age"]:
		return p, errors.New("the policy has no max_age")
	case len(p.MX) == 0 && p.Mode != None:
		return p, errors.New("the policy names no mail servers")
	}
	return p, nil
}

// Allows reports whether host is one of the policy's mail servers. A leading
// "*." in a pattern matches exactly one label (RFC 8461, 4.1).
func (p Policy) Allows(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, parent, _ := strings.Cut(host, ".")
	for _, mx := range p.MX {
		if wild, ok := strings.CutPrefix(mx, "*."); ok && parent != "" && parent == wild || mx == host {
			return true
		}
	}
	return false
}

// parseRecord returns the id in a domain's TXT records at _mta-sts; "" means
// that the domain has no policy (RFC 8461, 3.1).
func parseRecord(txt []string) string {
	id, found := "", 0
	for _, t := range txt {
		if !strings.HasPrefix(t, "v=STSv1;") {
			continue
		}
		found++
		for field := range strings.SplitSeq(t, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			if strings.TrimSpace(key) == "id" {
				id = strings.TrimSpace(value)
			}
		}
	}
	if found != 1 || len(id) > 32 {
		return ""
	}
	return id
}
