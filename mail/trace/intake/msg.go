package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"hoplite/internal/memory"
	"hoplite/mail/ole"
)

var oleMagic = []byte(ole.Magic)

// The properties read from an Outlook message (MS-OXPROPS).
const (
	propHeaders = "007D" // PidTagTransportMessageHeaders
	propSubject = "0037"
	propBody    = "1000"
)

// readMsg reads the Internet headers of an Outlook .msg file. Such a file is a small
// file system: each property is a stream whose name ends in its tag and type, 001F
// for UTF-16 and 001E for bytes.
func (in *Input) readMsg(ctx context.Context, raw []byte) (err error) {
	defer func() {
		// The container library may panic on malicious input.
		if r := recover(); r != nil {
			err = fmt.Errorf("read Outlook message: the file is damaged")
		}
	}()
	share := memory.Content.Share(0)
	defer share.Close()
	doc, err := ole.Open(ctx, bytes.NewReader(raw), int64(len(raw)), share)
	if err != nil {
		return fmt.Errorf("read Outlook message: %w", err)
	}
	props := map[string]string{}
	for range 10_000 {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := doc.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read Outlook message: %w", err)
		}
		tag, ok := strings.CutPrefix(e.Name, "__substg1.0_")
		if !ok || len(tag) != 8 || len(e.Path) > 0 || e.Size <= 0 {
			continue // the property of an attachment or recipient
		}
		prop, kind := strings.ToUpper(tag[:4]), strings.ToUpper(tag[4:])
		if prop != propHeaders && prop != propSubject && prop != propBody {
			continue
		}
		if _, again := props[prop]; again {
			continue // many entries may refer to the same long stream
		}
		// Keep the readable part of a damaged stream.
		b, _ := io.ReadAll(io.LimitReader(e, min(e.Size, 8<<20)))
		if kind == "001F" {
			b = fromUTF16(b, false)
		}
		props[prop] = strings.TrimRight(string(b), "\x00")
	}
	head := props[propHeaders]
	if strings.TrimSpace(head) == "" {
		return errors.New("this Outlook message has no Internet headers: it never left its Exchange server, or was never sent")
	}
	in.Outlook = true
	in.repaired("headers taken out of an Outlook message")
	// Outlook adds a line such as "Microsoft Mail Internet Headers Version 2.0"
	// at the top.
	if first, rest, ok := strings.Cut(head, "\n"); ok && !isField([]byte(first)) {
		head = rest
	}
	h, _ := split([]byte(head))
	in.Head, in.Body = in.firstFields(in.folding(h)), []byte(props[propBody])
	if !hasField(in.Head) {
		return errors.New("the headers of this Outlook message cannot be read")
	}
	return nil
}
