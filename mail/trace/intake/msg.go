package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"hoplite/mail/ole"
)

var oleMagic = []byte(ole.Magic)

// The properties that we read out of an Outlook message (MS-OXPROPS).
const (
	propHeaders = "007D" // PidTagTransportMessageHeaders
	propSubject = "0037"
	propBody    = "1000"
)

// readMsg takes the Internet headers out of an Outlook .msg file. Such a file
// is a little file system; each property is a stream whose name ends in its
// tag and type, 001F for UTF-16 and 001E for bytes.
func (in *Input) readMsg(raw []byte) (err error) {
	defer func() {
		// The container library is not ours and its input is hostile.
		if r := recover(); r != nil {
			err = fmt.Errorf("read Outlook message: the file is damaged")
		}
	}()
	doc, err := ole.Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return fmt.Errorf("read Outlook message: %w", err)
	}
	props := map[string]string{}
	for range 10_000 {
		e, err := doc.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read Outlook message: %w", err)
		}
		tag, ok := strings.CutPrefix(e.Name, "__substg1.0_")
		if !ok || len(tag) != 8 || len(e.Path) > 0 || e.Size <= 0 {
			continue // parts of attachments and recipients lie deeper
		}
		prop, kind := strings.ToUpper(tag[:4]), strings.ToUpper(tag[4:])
		if prop != propHeaders && prop != propSubject && prop != propBody {
			continue
		}
		if _, again := props[prop]; again {
			continue // many entries may lead to the same long stream
		}
		// What can be read of a damaged one is better than nothing.
		b, _ := io.ReadAll(io.LimitReader(e, min(e.Size, 8<<20)))
		if kind == "001F" {
			b = fromUTF16(b, false)
		}
		props[prop] = strings.TrimRight(string(b), "\x00")
	}
	head := props[propHeaders]
	if strings.TrimSpace(head) == "" {
		return errors.New("this Outlook message holds no Internet headers: it never left its Exchange server, or it was written here")
	}
	in.repaired("headers taken out of an Outlook message")
	// Outlook puts a line such as "Microsoft Mail Internet Headers Version 2.0"
	// on top.
	if first, rest, ok := strings.Cut(head, "\n"); ok && !isField([]byte(first)) {
		head = rest
	}
	h, _ := split([]byte(head))
	in.Head, in.Body = in.folding(h), []byte(props[propBody])
	if !hasField(in.Head) {
		return errors.New("the headers of this Outlook message cannot be read")
	}
	return nil
}
