package smime

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"hoplite/internal/hold"
	"hoplite/mail/attachments"
	"hoplite/mail/cms"
	"hoplite/mail/mime"
)

// Checker judges messages. Its fields are set before first use; it then
// serves many goroutines.
type Checker struct {
	// Trust holds the roots; nil means those of the system.
	Trust *Trust
	// AnyRoot judges signatures alone, and not who vouches for their keys.
	AnyRoot bool
	// At is the time for which certificates are judged; zero means now.
	At time.Time
	// MaxLayers is how many layers are opened; 0 means 5.
	MaxLayers int
	// MaxSize bounds a CMS object in octets; 0 means 64 MiB.
	MaxSize int64
	// FoldCase lets the local parts of addresses differ in capitals.
	FoldCase bool
	// Sender lets the Sender field's address vouch where From's does not.
	Sender bool
	// Revocation says whether certificates still hold; nil asks nobody.
	Revocation *Revocation
	// Spool is the folder for large content; empty is the system's.
	Spool string
	// Certs help to find signers that a message brings no certificate for.
	Certs []*cms.Certificate
	// Inside looks into attachments too, however they are packed.
	Inside bool
	// Extract, if set, receives each layer's signed content and its
	// certificates as PEM, by a file name of ours.
	Extract func(name string) (io.WriteCloser, error)
}

// maxShapes bounds the S/MIME parts that are judged in one message.
const maxShapes = 20

// run is one message being judged.
type run struct {
	*Checker
	ctx    context.Context
	rep    *Report
	at     time.Time
	header []byte // the outer header
	from   []string
	sender []string

	held     []*hold.Hold
	shapes   int
	unsigned bool // something readable stands beside a signature
}

// Message judges a message of size octets. The error says that it could not be
// read; whatever a stranger wrote is a verdict, never an error.
func (c *Checker) Message(ctx context.Context, msg io.ReaderAt, size int64) (*Report, error) {
	r := c.start(ctx)
	defer r.close()
	tree, err := mime.Walk(io.NewSectionReader(msg, 0, size))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	r.header = tree.Root.Raw
	r.readIdentity()
	if err := r.entity(where{src: msg, path: "message", whole: true}, tree.Root); err != nil {
		return nil, err
	}
	r.finish()
	return r.rep, nil
}

// Object judges a CMS object alone, in DER, PEM or base64. content is what a
// detached signature is over; nil if it is not at hand.
func (c *Checker) Object(ctx context.Context, der io.Reader, content io.Reader) (*Report, error) {
	r := c.start(ctx)
	defer r.close()
	w := where{path: "message", whole: true}
	if err := r.object(w, nil, sniffed(der), content); err != nil {
		return nil, err
	}
	r.finish()
	return r.rep, nil
}

func (c *Checker) start(ctx context.Context) *run {
	r := &run{Checker: c, ctx: ctx, at: c.At, rep: &Report{Layers: []*Layer{}, Parts: []Part{}, Findings: []Finding{}}}
	if r.at.IsZero() {
		r.at = time.Now()
	}
	return r
}

func (r *run) close() {
	for _, h := range r.held {
		h.Close()
	}
}

func (r *run) find(code, severity, part, text, advice string) {
	r.rep.Findings = append(r.rep.Findings, Finding{code, severity, part, text, advice})
}

// where is the place of an entity: in which octets, and inside of what.
type where struct {
	src      io.ReaderAt
	path     string // of the part, for people
	whole    bool   // it is the whole message, wrappings aside
	attached bool   // it is inside an attached message
	signed   bool   // a whole signature is around it
	layers   int    // that are around it
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

// entity judges one part and what is in it. Parts nest no deeper than
// mime.MaxDepth, layers no deeper than MaxLayers.
func (r *run) entity(w where, p *mime.Part) error {
	switch s := shapeOf(p); s {
	case clearSigned:
		return r.clearSigned(w, p)
	case opaque, byName:
		if s == byName {
			r.find("by_name", info, w.path, "only the file name says that this part is S/MIME", "")
		}
		if !w.whole && !w.attached && isDocument(p) {
			r.find("signed_document", info, w.path, "a signed document, not signed mail: it counts for itself alone", "")
			w.attached = true
		}
		return r.object(w, p, der(w.src, p), nil)
	case signature:
		if isDocument(p) {
			r.find("signed_document", info, w.path, "the signature of a document", "")
			return r.leaf(w, p)
		}
		r.find("stray_signature", warning, w.path, "a detached signature without what it signs",
			"something on the way may have taken the multipart/signed apart")
		return r.leaf(w, p)
	case otherSigned:
		r.find("other_signature", info, w.path, "signed by other means than S/MIME ("+mime.Get(p.Params, "protocol")+")", "")
		return r.children(w, p)
	case otherMessage:
		return r.innerMessage(w, p)
	case container:
		return r.children(w, p)
	}
	return r.leaf(w, p)
}

// innerMessage goes into a message/rfc822. Under a signature that is around
// everything it is the message itself (RFC 8551, 3.1); elsewhere it is an
// attachment.
func (r *run) innerMessage(w where, p *mime.Part) error {
	if w.whole && w.signed {
		return r.entity(w, p.Message())
	}
	if !w.attached {
		w.attached, w.whole = true, false
	}
	return r.entity(w, p.Message())
}

// children looks into the parts of a multipart. Signatures in there are not
// around the whole message, unless the multipart holds nothing else.
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

// mixed speaks of S/MIME parts that stand beside others.
func (r *run) mixed(p *mime.Part, layers []*Layer) {
	for _, l := range layers {
		switch {
		case l.Attached:
		case len(l.Signers) > 0:
			r.unsigned = true
			r.find("partial", warning, l.Part, "the signature covers this part and not the whole message",
				"what stands beside it may be by anybody; mail programs often show both as one")
		case l.RecipientCount > 0:
			r.find("efail", warning, l.Part, "an encrypted part stands among other parts",
				"a mail program that shows them as one can be made to send the plain text away (CVE-2017-17688)")
		}
	}
}

// leaf notes a part that can be read, and what is in it.
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
