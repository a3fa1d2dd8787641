package maildir

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The names of the uidlist and Courier's equivalent.
const (
	UIDListFile        = "dovecot-uidlist"
	CourierUIDListFile = "courierimapuiddb"
	// MaxUIDList is the maximum size in octets of a uidlist that is read,
	// enough for several million messages.
	MaxUIDList = 1 << 30
)

// ErrUIDList is returned for a damaged uidlist. The list returned with it
// contains the part before the damage.
var ErrUIDList = errors.New("corrupt uidlist")

// modSeqKey is Hoplite's own key in a uidlist's header. Dovecot preserves
// unknown keys.
const modSeqKey = 'H'

// UIDList is a parsed uidlist, which assigns UIDs to messages.
type UIDList struct {
	Validity uint32
	Next     uint32 // greater than every UID assigned so far
	GUID     string // 32 hex digits that identify the folder; empty in old lists
	// ModSeq is an upper bound for the folder's modification sequences that
	// survives the loss of the index. It is 0 if unknown.
	ModSeq uint64
	// Other holds the header's remaining keys, verbatim.
	Other   []string
	Entries []Entry // ascending by UID
}

// Entry is one line of a uidlist.
type Entry struct {
	UID uint32
	// Ext holds the keys between UID and name, verbatim, such as "S4711 W4801".
	// It is usually empty.
	Ext  string
	Base string
}

// Key returns the value of the entry's key k.
func (e Entry) Key(k byte) string { return ExtKey(e.Ext, k) }

// ExtKey returns the value of key k in ext.
func ExtKey(ext string, k byte) string {
	for ext != "" {
		field, rest, _ := strings.Cut(ext, " ")
		if field != "" && field[0] == k {
			return field[1:]
		}
		ext = rest
	}
	return ""
}

// ParseUIDList parses a uidlist of version 3, or of version 1 as written by
// Courier. If the error is ErrUIDList, the part before the damage is also
// returned.
func ParseUIDList(text string) (*UIDList, error) {
	head, rest, _ := strings.Cut(text, "\n")
	l := &UIDList{}
	version, err := l.parseHead(head)
	if err != nil {
		return l, err
	}
	l.Entries = make([]Entry, 0, strings.Count(rest, "\n"))
	return l, l.parseEntries(rest, version)
}

func (l *UIDList) parseHead(line string) (version int, err error) {
	fields := strings.Fields(line)
	bad := fmt.Errorf("%w: header %.60q", ErrUIDList, line)
	if len(fields) < 3 {
		return 0, bad
	}
	switch fields[0] {
	case "1":
		var ok1, ok2 bool
		l.Validity, ok1 = uid32(fields[1])
		l.Next, ok2 = uid32(fields[2])
		if !ok1 || !ok2 {
			return 0, bad
		}
		return 1, nil
	case "3":
		for _, f := range fields[1:] {
			if !l.headKey(f) {
				return 0, bad
			}
		}
		if l.Validity == 0 || l.Next == 0 {
			return 0, bad
		}
		return 3, nil
	}
	return 0, bad
}

func (l *UIDList) headKey(f string) bool {
	ok := true
	switch f[0] {
	case 'V':
		l.Validity, ok = uid32(f[1:])
	case 'N':
		l.Next, ok = uid32(f[1:])
	case 'G':
		if l.GUID = f[1:]; !guidText(l.GUID) {
			l.GUID = ""
		}
	case modSeqKey:
		n, err := strconv.ParseUint(f[1:], 10, 63)
		l.ModSeq, ok = n, err == nil
	default:
		l.Other = append(l.Other, f)
	}
	return ok
}

func (l *UIDList) parseEntries(text string, version int) error {
	for text != "" {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			// The last line may be partially written. It will be read again
			// when it is complete.
			return fmt.Errorf("%w: incomplete last line", ErrUIDList)
		}
		text = rest
		e, ok := parseEntry(line, version)
		if !ok || e.UID < l.floor() {
			return fmt.Errorf("%w: line %.60q", ErrUIDList, line)
		}
		l.Entries = append(l.Entries, e)
		l.Next = max(l.Next, e.UID+1)
	}
	return nil
}

// floor returns the smallest UID that the next entry can have.
func (l *UIDList) floor() uint32 {
	if n := len(l.Entries); n > 0 {
		return l.Entries[n-1].UID + 1
	}
	return 1
}

func parseEntry(line string, version int) (e Entry, ok bool) {
	num, rest, _ := strings.Cut(line, " ")
	if e.UID, ok = uid32(num); !ok || e.UID == 1<<32-1 {
		return e, false
	}
	if version == 1 {
		e.Base = Base(rest)
		return e, checkName(e.Base) == nil
	}
	for !strings.HasPrefix(rest, ":") {
		field, more, found := strings.Cut(rest, " ")
		if !found || field == "" {
			return e, false
		}
		if e.Ext != "" {
			e.Ext += " "
		}
		e.Ext += field
		rest = more
	}
	// To repair a list, Dovecot writes names with flags; only the base name
	// matters.
	e.Base = Base(rest[1:])
	return e, checkName(e.Base) == nil
}

func uid32(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n > 0
}

func guidText(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// AppendHead appends the header line. ModSeq has a fixed width so that it can
// be updated in place.
func (l *UIDList) AppendHead(b []byte) []byte {
	b = fmt.Appendf(b, "3 V%d N%d", l.Validity, l.Next)
	if l.GUID != "" {
		b = append(append(b, " G"...), l.GUID...)
	}
	if l.ModSeq != 0 {
		b = fmt.Appendf(b, " %c%s", modSeqKey, ModSeqText(l.ModSeq))
	}
	for _, f := range l.Other {
		b = append(append(b, ' '), f...)
	}
	return append(b, '\n')
}

// ModSeqText returns n in the form used for ModSeq in a uidlist's header.
func ModSeqText(n uint64) string { return fmt.Sprintf("%019d", n) }

// ModSeqOffset returns the offset of ModSeqText in a uidlist, or -1 if the
// header has no ModSeq of that width.
func ModSeqOffset(text []byte) int64 {
	head, _, _ := strings.Cut(string(text[:min(len(text), 4096)]), "\n")
	i := strings.Index(head, " "+string(rune(modSeqKey)))
	if i < 0 {
		return -1
	}
	field, _, _ := strings.Cut(head[i+2:], " ")
	if len(field) != len(ModSeqText(0)) {
		return -1
	}
	return int64(i + 2)
}

// AppendEntry appends one line.
func AppendEntry(b []byte, e Entry) []byte {
	b = strconv.AppendUint(b, uint64(e.UID), 10)
	b = append(b, ' ')
	if e.Ext != "" {
		b = append(append(b, e.Ext...), ' ')
	}
	b = append(append(b, ':'), e.Base...)
	return append(b, '\n')
}

// Bytes returns the contents of the file.
func (l *UIDList) Bytes() []byte {
	b := l.AppendHead(make([]byte, 0, 128+64*len(l.Entries)))
	for _, e := range l.Entries {
		b = AppendEntry(b, e)
	}
	return b
}

// Find returns the entry with the given UID.
func (l *UIDList) Find(uid uint32) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(l.Entries, uid, func(e Entry, u uint32) int {
		return int(int64(e.UID) - int64(u))
	})
	if !ok {
		return Entry{}, false
	}
	return l.Entries[i], true
}
