package maildir

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Split splits a file name into the base name, which identifies the message,
// and its info, including the colon. The info is empty if there is none.
func Split(file string) (base, info string) {
	if i := strings.IndexByte(file, ':'); i >= 0 {
		return file[:i], file[i:]
	}
	return file, ""
}

// Base returns the part of a file name that identifies the message.
func Base(file string) string {
	base, _ := Split(file)
	return base
}

// Sizes returns the ,S= and ,W= fields of a base name: the file size, and the
// size with CRLF line endings. A missing field is -1.
func Sizes(base string) (size, wire int64) {
	size, wire = -1, -1
	for {
		i := strings.LastIndexByte(base, ',')
		if i < 0 {
			return size, wire
		}
		field := base[i+1:]
		base = base[:i]
		if len(field) < 3 || field[1] != '=' {
			continue
		}
		n, err := strconv.ParseInt(field[2:], 10, 64)
		if err != nil || n < 0 {
			continue
		}
		switch field[0] {
		case 'S':
			size = n
		case 'W':
			wire = n
		}
	}
}

// WithSizes adds the ,S= and ,W= fields to a base name.
func WithSizes(base string, size, wire int64) string {
	return base + ",S=" + strconv.FormatInt(size, 10) + ",W=" + strconv.FormatInt(wire, 10)
}

var (
	unique atomic.Uint64
	start  = time.Now()
	suffix = ".M%06dP" + strconv.Itoa(os.Getpid()) + "Q%d." + hostPart()
)

// Unique returns a base name that no other message on this or another host has.
// It consists of seconds, microseconds, process, counter and host.
func Unique() string {
	// The wall clock may jump back, but names from one process never do.
	now := start.Add(time.Since(start))
	return strconv.FormatInt(now.Unix(), 10) + fmt.Sprintf(suffix, now.Nanosecond()/1000, unique.Add(1))
}

// hostPart returns the host name with / and : replaced as the Maildir
// specification requires. It also replaces commas, because a comma starts the
// size fields.
func hostPart() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return strings.NewReplacer("/", `\057`, ":", `\072`, ",", `\054`).Replace(host)
}

// SortArrival sorts files by arrival time, in the order in which Dovecot
// assigns UIDs: by seconds, then by the microseconds after M, then by the whole
// base name. name returns a file's name.
func SortArrival[F any](files []F, name func(F) string) {
	type key struct {
		secs, micros uint64
		base         string
		file         F
	}
	keys := make([]key, len(files))
	for i, f := range files {
		base := Base(name(f))
		keys[i].secs, keys[i].micros = arrival(base)
		keys[i].base, keys[i].file = base, f
	}
	slices.SortFunc(keys, func(a, b key) int {
		if c := cmp.Compare(a.secs, b.secs); c != 0 {
			return c
		}
		if c := cmp.Compare(a.micros, b.micros); c != 0 {
			return c
		}
		return strings.Compare(a.base, b.base)
	})
	for i := range keys {
		files[i] = keys[i].file
	}
}

// ArrivalTime returns the arrival time in a file name, in seconds since 1970,
// or 0 if there is none.
func ArrivalTime(base string) int64 {
	secs, _ := arrival(base)
	return int64(min(secs, 1<<40))
}

func arrival(base string) (secs, micros uint64) {
	secs, rest := digits(base)
	if i := strings.IndexByte(rest, 'M'); i >= 0 && strings.HasPrefix(rest, ".") {
		micros, _ = digits(rest[i+1:])
	}
	return secs, micros
}

func digits(s string) (n uint64, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' && n < 1<<59 {
		n = n*10 + uint64(s[i]-'0')
		i++
	}
	return n, s[i:]
}
