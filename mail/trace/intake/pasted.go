package intake

import (
	"bytes"
	"fmt"
	"strings"
)

// introLines is the maximum number of lines of text before a header.
const introLines = 60

// intro removes text that precedes the header, as in "Hello, here is the
// header:".
func (in *Input) intro(b []byte) []byte {
	at, fields := 0, false
	n := 0
	for line := range bytes.SplitAfterSeq(b, []byte{'\n'}) {
		l := bytes.TrimLeft(line, "> \t")
		name, value, _ := bytes.Cut(l, []byte{':'})
		switch {
		case isField(l) && knownField(bytes.TrimSpace(name)) && len(bytes.TrimSpace(value)) > 0:
			if n == 0 || fields {
				return b // there is no text before the header
			}
			in.pasted("text before the header removed")
			return b[at:]
		case isField(l) && len(bytes.TrimSpace(value)) > 0:
			fields = true
		}
		at += len(line)
		if n++; n == introLines {
			break
		}
	}
	return b
}

// fixedSpaces lists non-breaking spaces that Outlook and web pages use instead
// of ordinary ones.
var fixedSpaces = []string{"\u00a0", "\u202f", "\u2007"}

// spaces replaces non-breaking spaces in a header if some of them cannot be
// genuine: those at the start of a line or in a Received field.
func (in *Input) spaces(head []byte) []byte {
	received, wrong := false, false
	for line := range bytes.SplitSeq(head, []byte{'\n'}) {
		if isField(line) {
			received = len(line) > 8 && strings.EqualFold(string(line[:8]), "received")
		}
		for _, s := range fixedSpaces {
			wrong = wrong || bytes.HasPrefix(line, []byte(s)) || received && bytes.Contains(line, []byte(s))
		}
	}
	if !wrong {
		return head
	}
	in.pasted("non-breaking spaces replaced")
	for _, s := range fixedSpaces {
		head = bytes.ReplaceAll(head, []byte(s), []byte{' '})
	}
	return head
}

// splitFields holds the fields that are recognised in the middle of a line.
var splitFields = map[string]bool{"Received": true, "From": true, "To": true, "Cc": true, "Subject": true, "Date": true, "Message-ID": true, "Message-Id": true,
	"Return-Path": true, "Delivered-To": true, "Reply-To": true, "MIME-Version": true, "Content-Type": true, "X-Received": true,
	"Authentication-Results": true, "Received-SPF": true, "DKIM-Signature": true}

// longestSplit is the length of the longest of splitFields.
const longestSplit = len("Authentication-Results")

// oneLine separates fields that share a line. A Received field never contains
// another field, and no other field contains "Received: from".
func (in *Input) oneLine(head []byte) []byte {
	var out []byte
	split := 0 // fields
	for line := range bytes.SplitAfterSeq(head, []byte{'\n'}) {
		if joined(line) {
			for i, _ := nextField(line); i >= 0; i, _ = nextField(line) {
				out = append(append(out, bytes.TrimRight(line[:i], " \t;")...), '\n')
				line = line[i:]
				split++
			}
		}
		out = append(out, line...)
	}
	if split == 0 {
		return head
	}
	in.pasted("%s separated", shared(split))
	return out
}

// joined reports whether a line certainly contains several fields.
func joined(line []byte) bool {
	return bytes.HasPrefix(line, []byte("Received:")) || bytes.Contains(line, []byte(" Received: from ")) || bytes.Contains(line, []byte(" Received: by "))
}

// nextField returns the position of the next field in a line, or -1, and the number
// of octets read. It reads no further than the name of this field, so that
// splitting a line takes one pass.
func nextField(line []byte) (next, read int) {
	for at := 0; ; {
		i := bytes.Index(line[at:], []byte(": "))
		if i < 0 {
			return -1, len(line)
		}
		colon := at + i
		from := max(0, colon-longestSplit-1)
		if space := bytes.LastIndexByte(line[from:colon], ' '); space >= 0 && splitFields[string(line[from+space+1:colon])] {
			return from + space + 1, colon + 2
		}
		at = colon + 1
	}
}

// shared describes how many fields shared a line.
func shared(n int) string {
	if n == 1 {
		return "a field that shared a line with another"
	}
	return fmt.Sprintf("%d fields that shared a line with another", n)
}
