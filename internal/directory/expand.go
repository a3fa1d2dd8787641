package directory

import (
	"errors"
	"fmt"
)

// Limits on the members of a group.
const (
	maxDepth   = 5
	maxMembers = 1000
)

// ErrTooLarge means that a group has more than 1,000 members, or groups nested
// more than 5 deep.
var ErrTooLarge = errors.New("group with more than 1,000 members, or groups nested more than 5 deep")

// reader reads the entries that groups refer to. A missing entry is nil.
type reader interface {
	byName(dn string) (*Entry, error)
	byUID(uid string) (*Entry, error)
}

// expand returns the addresses of a group's members, including those of groups
// in it. Members without an address, and disabled accounts if refuseDisabled is
// set, are omitted.
func expand(group *Entry, r reader, refuseDisabled bool) ([]string, error) {
	x := expansion{r: r, refuseDisabled: refuseDisabled, seen: map[string]bool{group.DN: true}, has: map[string]bool{}}
	err := x.group(group, 1)
	return x.out, err
}

type expansion struct {
	r              reader
	refuseDisabled bool
	seen           map[string]bool // distinguished names
	has            map[string]bool // addresses
	out            []string
}

func (x *expansion) group(g *Entry, depth int) error {
	m := &g.members
	if m.partial || depth > maxDepth || len(m.names)+len(m.uids)+len(m.addresses) > maxMembers {
		return fmt.Errorf("%s: %w", g.DN, ErrTooLarge)
	}
	for _, a := range m.addresses {
		if err := x.add(a); err != nil {
			return err
		}
	}
	for _, dn := range m.names {
		e, err := x.r.byName(dn)
		if err == nil {
			err = x.member(e, depth)
		}
		if err != nil {
			return err
		}
	}
	for _, uid := range m.uids {
		e, err := x.r.byUID(uid)
		if err == nil {
			err = x.member(e, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *expansion) member(e *Entry, depth int) error {
	switch {
	case e == nil || x.seen[e.DN]:
		return nil
	case e.Group:
		x.seen[e.DN] = true
		return x.group(e, depth+1)
	case e.Address == "" || e.Disabled && x.refuseDisabled:
		return nil
	}
	x.seen[e.DN] = true
	return x.add(e.Address)
}

func (x *expansion) add(address string) error {
	if x.has[address] {
		return nil
	}
	if len(x.out) >= maxMembers {
		return ErrTooLarge
	}
	x.has[address] = true
	x.out = append(x.out, address)
	return nil
}
