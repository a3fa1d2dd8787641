package attachments

import (
	"bufio"
	"bytes"
	"errors"

	"hoplite/internal/hold"
	"hoplite/mail/cms"
)

// cmsKind is signed or compressed S/MIME content. Anyone can sign, and a filter
// that does not look inside would miss the attachments.
const cmsKind = "application/pkcs7-mime"

// pkcs is the common prefix of the object identifiers of CMS content types.
var pkcs = []byte("\x2a\x86\x48\x86\xf7\x0d\x01")

// isCMS reports whether content begins like a ContentInfo.
func isCMS(head []byte) bool {
	return len(head) > 16 && head[0] == 0x30 && bytes.Contains(head[:16], pkcs)
}

// smime lists signed and compressed content.
func (s *scan) smime(at place, index int, r *bufio.Reader) error {
	h := hold.New(s.Dir)
	defer h.Close()
	obj, err := cms.Read(r, cms.Options{Max: s.Size, MaxInflated: max(1, s.left), Content: &unpacked{s: s, h: h}})
	if err != nil {
		if errors.Is(err, errSize) {
			return errSize
		}
		return err
	}
	if obj.Encrypted != nil {
		s.items[index].Encrypted = true
		return errors.New("encrypted")
	}
	if h.Size() == 0 {
		return nil
	}
	return s.entity(h, h.Size(), at.path+"/1", at.depth+1)
}

// unpacked subtracts content from the budget.
type unpacked struct {
	s *scan
	h *hold.Hold
}

func (u *unpacked) Write(p []byte) (int, error) {
	if u.s.left -= int64(len(p)); u.s.left < 0 {
		return 0, errSize
	}
	return writer{u.h}.Write(p)
}
