package imap

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// maxValue is the maximum size of an annotation.
const maxValue = 32 << 10

// entrySpecialUse is an entry whose value is the special use of a mailbox, which
// CREATE sets (RFC 6154, 4).
const entrySpecialUse = "/private/specialuse"

// handleGetMetadata runs GETMETADATA (RFC 5464, 4.2).
func handleGetMetadata(a *account, c *call) error {
	c.args.SP()
	get := c.args.GetMetadata()
	if err := c.args.End(); err != nil {
		return err
	}
	name, notes, err := a.annotations(get.Mailbox)
	if err != nil {
		return err
	}
	shown, longest := selectEntries(notes, &get)
	sendMetadata(a, c, name, shown)
	if longest > 0 {
		c.setCode("METADATA LONGENTRIES %d", longest)
	}
	return nil
}

// annotations returns the store's name of a mailbox, or "" for the server, and
// its annotations.
func (a *account) annotations(wireName string) (string, maildrop.Annotations, error) {
	if wireName == "" {
		notes, err := a.box.Annotations("")
		return "", notes, err
	}
	name, err := a.names.folder(wireName)
	if err != nil {
		return "", nil, err
	}
	notes, err := a.box.Annotations(name)
	if err != nil {
		return "", nil, err
	}
	return name, a.withSpecialUse(name, notes), nil
}

// withSpecialUse adds the special use of a mailbox to its annotations.
func (a *account) withSpecialUse(name string, notes maildrop.Annotations) maildrop.Annotations {
	folders, err := a.box.List()
	if err != nil {
		return notes
	}
	for _, f := range folders {
		if f.Name == name && f.SpecialUse != "" {
			notes = maps.Clone(notes)
			if notes == nil {
				notes = maildrop.Annotations{}
			}
			notes[entrySpecialUse] = []byte(f.SpecialUse)
		}
	}
	return notes
}

// selectEntries returns the requested entries in order. With depth 0, an entry
// without a value is included with nil. longest is the size of the largest value
// that is omitted because of its size, or 0.
func selectEntries(notes maildrop.Annotations, get *wire.GetMetadata) (shown []wire.EntryValue, longest int) {
	add := func(entry string) {
		value := notes[entry]
		if int64(len(value)) > get.MaxSize {
			longest = max(longest, len(value))
			return
		}
		shown = append(shown, wire.EntryValue{Entry: entry, Value: value})
	}
	sorted := slices.Sorted(maps.Keys(notes))
	for _, top := range get.Entries {
		if get.Depth == 0 {
			add(top)
			continue
		}
		if notes[top] != nil {
			add(top)
		}
		for _, entry := range sorted {
			below, ok := strings.CutPrefix(entry, top+"/")
			if ok && (get.Depth == wire.Infinity || !strings.Contains(below, "/")) {
				add(entry)
			}
		}
	}
	return shown, longest
}

// sendMetadata sends a METADATA response.
func sendMetadata(a *account, c *call, name string, values []wire.EntryValue) {
	if len(values) == 0 {
		return
	}
	c.out.WriteString("* METADATA ")
	if name == "" {
		c.out.WriteString(`""`)
	} else {
		c.out.WriteString(a.names.encode(name))
	}
	mark := " ("
	for _, v := range values {
		c.out.WriteString(mark)
		c.out.Write(append(wire.AppendAString(nil, v.Entry), ' '))
		c.out.Write(appendValue(nil, v.Value))
		mark = " "
	}
	c.out.WriteString(")\r\n")
}

// appendValue appends the value of an annotation; only literal8 may contain NULs.
func appendValue(b, value []byte) []byte {
	switch {
	case value == nil:
		return append(b, "NIL"...)
	case bytes.IndexByte(value, 0) >= 0:
		return append(appendLiteral(b, "~{", int64(len(value))), value...)
	}
	return wire.AppendString(b, string(value), false)
}

// handleSetMetadata runs SETMETADATA (RFC 5464, 4.3).
func handleSetMetadata(a *account, c *call) error {
	c.args.SP()
	set := c.args.SetMetadata()
	if err := c.args.End(); err != nil {
		return err
	}
	changes := maildrop.Annotations{}
	for _, v := range set.Values {
		switch {
		case len(v.Value) > maxValue:
			return nof("[METADATA MAXSIZE %d] Value is too large", maxValue)
		case v.Entry == entrySpecialUse:
			return nof("[CANNOT] Special uses are set by CREATE")
		case set.Mailbox == "" && strings.HasPrefix(v.Entry, "/shared/"):
			return nof("[NOPERM] Shared entries of the server can't be changed")
		}
		changes[v.Entry] = v.Value
	}
	if set.Mailbox == "" {
		return a.box.Annotate("", changes)
	}
	name, err := a.names.folder(set.Mailbox)
	if err != nil {
		return err
	}
	return a.box.Annotate(name, changes)
}

// sendListMetadata sends the annotations that LIST requests for a mailbox (RFC
// 9590).
func sendListMetadata(a *account, c *call, l *wire.List, name string) {
	notes, err := a.box.Annotations(name)
	if err != nil {
		return // deleted in the meantime
	}
	get := wire.GetMetadata{MaxSize: maxValue, Entries: l.Metadata}
	shown, _ := selectEntries(a.withSpecialUse(name, notes), &get)
	sendMetadata(a, c, name, shown)
}
