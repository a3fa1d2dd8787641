package smime

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"hoplite/internal/hold"
	"hoplite/internal/memory"
	"hoplite/mail/attachments"
	"hoplite/mail/cms"
	"hoplite/mail/mime"
)

// Checker verifies messages. Its fields must be set before first use; after
// that, it is safe for concurrent use.
type Checker struct {
	// Trust holds the roots; nil means the system's.
	Trust *Trust
	// AnyRoot verifies signatures without evaluating certificates.
	AnyRoot bool
	// At is the time at which certificates are evaluated; zero means now.
	At time.Time
	// MaxLayers is the maximum number of layers that are opened; 0 means 5.
	MaxLayers int
	// MaxSize is the maximum size of a CMS object in octets; 0 means 64
	// MiB.
	MaxSize int64
	// FoldCase ignores case in the local parts of addresses. Otherwise, a
	// difference in case is accepted but reported as a finding.
	FoldCase bool
	// Sender accepts a signer whose address is in Sender instead of From.
	Sender bool
	// Revocation checks whether certificates have been revoked; nil skips
	// the check.
	Revocation *Revocation
	// Spool is the directory for large content; empty means the default
	// directory for temporary files.
	Spool string
	// Certs holds additional signer certificates, for messages that lack
	// them.
	Certs []*cms.Certificate
	// Inside also lists the contents of attachments.
	Inside bool
	// Extract, if set, returns a writer for each layer's signed content and
	// for its certificates in PEM. The names passed to it are generated.
	Extract func(name string) (io.WriteCloser, error)
}

// maxShapes is the maximum number of S/MIME parts verified in one message.
const maxShapes = 20

// run is the state of verifying one message.
type run struct {
	*Checker
	ctx    context.Context
	rep    *Report
	at     time.Time
	header []byte // the outer header
	from   []string
	sender []string
	dates  []time.Time // of the Date fields

	share    *memory.Share
	held     []*hold.Hold
	shapes   int
	unsigned bool // some readable content is not covered by a signature
}

// Message verifies a message of size octets. It returns an error only if the
// message cannot be read; problems with the message itself determine the
// verdict.
func (c *Checker) Message(ctx context.Context, msg io.ReaderAt, size int64) (*Report, error) {
	r := c.start(ctx)
	defer r.close()
	if err := r.share.Take(ctx, mime.Memory(size)); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	tree, err := mime.Walk(io.NewSectionReader(msg, 0, size))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	r.header = tree.Root.Raw
	r.readIdentity()
	if err := r.entity(where{src: msg, path: "message", whole: true}, tree.Root); err != nil {
		return nil, err
	}
	finish(r)
	return r.rep, nil
}

// Object verifies a separate CMS object in DER, PEM or base64. content is the
// content of a detached signature. It is nil if the content is not available.
func (c *Checker) Object(ctx context.Context, der io.Reader, content io.Reader) (*Report, error) {
	r := c.start(ctx)
	defer r.close()
	w := where{path: "message", whole: true}
	if err := r.object(w, nil, sniffed(der), content); err != nil {
		return nil, err
	}
	finish(r)
	return r.rep, nil
}

func (c *Checker) start(ctx context.Context) *run {
	r := &run{Checker: c, ctx: ctx, share: memory.Content.Share(0), at: c.At, rep: &Report{Layers: []*Layer{}, Parts: []Part{}, Findings: []Finding{}}}
	if r.at.IsZero() {
		r.at = time.Now()
	}
	return r
}

func (r *run) close() {
	for _, h := range r.held {
		h.Close()
	}
	r.share.Close()
}

func (r *run) find(code, severity, part, text, advice string) {
	r.rep.Findings = append(r.rep.Findings, Finding{code, severity, part, text, advice})
}

// where is the location of an entity.
type where struct {
	src      io.ReaderAt
	path     string // path of the part, as in reports
	whole    bool   // it is the whole message, not counting layers
	attached bool   // it is inside an attached message
	signed   bool   // covered by a signature on the whole message
	layers   int    // number of layers around it
}

func (w where) child(i int) where {
	n := strconv.Itoa(i + 1)
	if w.path == "message" {
		w.path = n
	} else {
		w.path += "." + n
	}
	return w
}

// entity verifies a part and the parts inside it. Parts are nested at most
// mime.MaxDepth deep, and layers at most MaxLayers deep.
func (r *run) entity(w where, p *mime.Part) error {
	switch s := shapeOf(p); s {
	case clearSigned:
		return r.clearSigned(w, p)
	case opaque, byName:
		if s == byName {
			r.find("by_name", info, w.path, "only the file name says that this part is S/MIME", "")
		}
		if !w.whole && !w.attached && isDocument(p) {
			r.find("signed_document", info, w.path, "a signed document, not signed mail: it does not sign the message", "")
			w.attached = true
		}
		return r.object(w, p, der(w.src, p), nil)
	case signature:
		if isDocument(p) {
			r.find("signed_document", info, w.path, "the signature of a document", "")
			return r.leaf(w, p)
		}
		r.find("stray_signature", warning, w.path, "a detached signature without the signed content",
			"the multipart/signed may have been taken apart in transit")
		return r.leaf(w, p)
	case otherSigned:
		r.find("other_signature", info, w.path, "signed by a method other than S/MIME ("+mime.Get(p.Params, "protocol")+")", "")
		return r.children(w, p)
	case otherMessage:
		return r.innerMessage(w, p)
	case container:
		return r.children(w, p)
	}
	return r.leaf(w, p)
}

// innerMessage descends into a message/rfc822 part. If a signature covers
// everything, the part is the message itself (RFC 8551, 3.1); otherwise it is
// an attachment.
func (r *run) innerMessage(w where, p *mime.Part) error {
	if w.whole && w.signed {
		return r.entity(w, p.Message())
	}
	if !w.attached {
		w.attached, w.whole = true, false
	}
	return r.entity(w, p.Message())
}

// children descends into the parts of a multipart. A signature inside it does
// not cover the whole message unless the multipart has only one part.
func (r *run) children(w where, p *mime.Part) error {
	if len(p.Children) == 0 {
		return r.leaf(w, p)
	}
	before := len(r.rep.Layers)
	for i, c := range p.Children {
		in := w.child(i)
		in.whole = w.whole && len(p.Children) == 1
		if err := r.entity(in, c); err != nil {
			return err
		}
	}
	if w.whole && !w.signed && len(p.Children) > 1 {
		r.mixed(p, r.rep.Layers[before:])
	}
	return nil
}

// mixed reports S/MIME parts that are mixed with other parts.
func (r *run) mixed(p *mime.Part, layers []*Layer) {
	for _, l := range layers {
		switch {
		case l.Attached:
		case len(l.Signers) > 0:
			r.unsigned = true
			r.find("partial", warning, l.Part, "the signature covers this part and not the whole message",
				"anyone may have added the other parts; mail programs often show all of them as one text")
		case l.RecipientCount > 0:
			r.find("efail", warning, l.Part, "an encrypted part is among other parts",
				"a mail program that shows them as one text may leak the plain text (CVE-2017-17688)")
		}
	}
}

// leaf records a readable part and its contents.
func (r *run) leaf(w where, p *mime.Part) error {
	if len(r.rep.Parts) >= mime.MaxParts {
		return nil
	}
	if w.path == "message" {
		w.path = "1"
	}
	if !r.Inside {
		r.rep.Parts = append(r.rep.Parts, Part{Part: w.path, Type: p.Type + "/" + p.Subtype,
			Name: p.Filename(), Size: p.Body.Size(), Signed: w.signed})
		return nil
	}
	items, err := attachments.ListPart(r.ctx, w.src, p, w.path, attachments.Limits{Dir: r.Spool})
	for _, it := range items {
		r.rep.Parts = append(r.rep.Parts, Part{Part: it.Path, Type: cmp.Or(it.Type, it.Kind), Name: it.Name, Size: it.Size, Signed: w.signed,
			Kind: it.Kind, Via: it.Via, Encrypted: it.Encrypted, Unread: it.Unread, Tricks: it.Tricks})
	}
	return err
}
