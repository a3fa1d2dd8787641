package smime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"hoplite/filters/attach"
	"hoplite/filters/smime/cms"
	"hoplite/internal/hold"
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
		return r.object(w, p, der(w.src, p), nil)
	case signature:
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
	items, err := attach.ListPart(r.ctx, w.src, p, w.path, attach.Limits{Dir: r.Spool})
	for _, it := range items {
		r.rep.Parts = append(r.rep.Parts, Part{Part: it.Path, Type: cmp.Or(it.Type, it.Kind), Name: it.Name, Size: it.Size, Signed: w.signed,
			Kind: it.Kind, Via: it.Via, Encrypted: it.Encrypted, Unread: it.Unread, Tricks: it.Tricks})
	}
	return err
}

// layer starts a layer, or says that there are too many.
func (r *run) layer(w where, form string) *Layer {
	limit := r.MaxLayers
	if limit <= 0 {
		limit = 5
	}
	r.shapes++
	if w.layers >= limit || r.shapes > maxShapes {
		if !r.rep.Has("too_many_layers") {
			r.find("too_many_layers", bad, w.path, fmt.Sprintf("more than %d layers, or %d S/MIME parts; the rest was not opened", limit, maxShapes), "")
		}
		return nil
	}
	l := &Layer{Type: cms.TypeUnknown, Form: form, Part: w.path, Whole: w.whole, Attached: w.attached}
	r.rep.Layers = append(r.rep.Layers, l)
	return l
}

// fail makes a layer bad that could not be read.
func (r *run) fail(l *Layer, err error) error {
	var syntax *cms.SyntaxError
	if !errors.As(err, &syntax) && !errors.Is(err, cms.ErrTooLarge) {
		return err
	}
	l.Verdict, l.Reason = "bad", err.Error()
	r.find("unreadable", bad, l.Part, err.Error(), "")
	return nil
}

// clearSigned judges a multipart/signed and goes on inside it.
func (r *run) clearSigned(w where, p *mime.Part) error {
	l := r.layer(w, "clear-signed")
	if l == nil {
		return nil
	}
	l.Type = cms.TypeSigned
	if len(p.Children) < 2 {
		l.Verdict, l.Reason = "bad", "a multipart/signed without its signature"
		r.find("no_signature", bad, w.path, l.Reason, "something on the way may have taken the signature off")
		return r.children(w, p)
	}
	if len(p.Children) > 2 {
		r.unsigned = r.unsigned || w.whole
		r.find("partial", warning, w.path, "a multipart/signed with more than two parts: the rest is not signed", "")
	}
	inner, sig := p.Children[0], p.Children[1]
	obj, err := cms.Read(der(w.src, sig), cms.Options{Max: r.MaxSize})
	switch {
	case err != nil:
		if err := r.fail(l, err); err != nil {
			return err
		}
	case obj.Type != cms.TypeSigned:
		l.Verdict, l.Reason = "bad", "the signature part holds "+string(obj.Type)
		r.find("no_signature", bad, w.path, l.Reason, "")
	default:
		if err := r.judgeClear(w, l, p, inner, obj.Signed); err != nil {
			return err
		}
	}
	in := w.child(0)
	in.whole, in.layers = w.whole, w.layers+1
	in.signed = w.signed || w.whole
	if w.whole {
		r.protection(in, l, inner)
	}
	return r.entity(in, inner)
}

func (r *run) judgeClear(w where, l *Layer, p, inner *mime.Part, s *cms.Signed) error {
	span := entitySpan(inner)
	l.Size = span.WireSize()
	content := func() io.Reader {
		if span.Size() == span.WireSize() {
			return section(w.src, span)
		}
		return &crlf{r: section(w.src, span)}
	}
	if err := r.judge(l, s, content()); err != nil {
		return err
	}
	for _, sg := range s.Signers {
		if micalg := mime.Get(p.Params, "micalg"); !announces(micalg, sg.Digest) {
			r.find("micalg", info, w.path, fmt.Sprintf("micalg says %s, the signature uses %s", micalg, sg.Digest), "")
		}
	}
	if !s.Detached {
		r.find("content_twice", bad, w.path, "the signature brings content of its own: two readers could see two messages", "")
	} else if changed(s) {
		if why := explain(w.src, span, inner, s, r.Certs); why != "" {
			r.find("changed", bad, w.path, why, "the sender's signature was good before")
		} else {
			r.find("changed", bad, w.path, "the content was changed after it was signed", "")
		}
	}
	return r.extract(l, s, func(out io.Writer) error {
		_, err := io.Copy(out, content())
		return err
	})
}

// object judges a CMS object and goes on inside it. p is the part that holds
// it, nil for an object alone.
func (r *run) object(w where, p *mime.Part, der, content io.Reader) error {
	l := r.layer(w, "opaque")
	if l == nil {
		return nil
	}
	if p != nil {
		l.Type = claimed(p)
	}
	held := hold.New(r.Spool)
	r.held = append(r.held, held)
	obj, err := cms.Read(der, cms.Options{Max: r.MaxSize, Content: held})
	if err != nil {
		if l.Type == "" {
			l.Type = cms.TypeUnknown
		}
		return r.fail(l, err)
	}
	if p != nil {
		r.compare(w, p, obj.Type)
	}
	l.Type, l.Size = obj.Type, obj.Size
	if obj.Type == cms.TypeCertsOnly {
		for _, c := range obj.Signed.Certs {
			l.Certificates = append(l.Certificates, c.Subject())
		}
	}
	switch obj.Type {
	case cms.TypeSigned:
		if obj.Signed.Detached {
			l.Form = "detached"
		}
		if err := r.judge(l, obj.Signed, content); err != nil {
			return err
		}
	case cms.TypeEnveloped, cms.TypeAuthEnveloped, cms.TypeEncrypted:
		r.encrypted(w, l, obj)
		return nil
	case cms.TypeCertsOnly, cms.TypeCompressed, cms.TypeData:
	default:
		l.Verdict, l.Reason = "unsupported", "a CMS object of type "+string(obj.Type)
		return nil
	}
	src, size := io.ReaderAt(held), held.Size()
	if obj.Signed != nil {
		err := r.extract(l, obj.Signed, func(out io.Writer) error {
			_, err := io.Copy(out, io.NewSectionReader(src, 0, size))
			return err
		})
		if err != nil {
			return err
		}
	}
	if size == 0 {
		return nil
	}
	return r.inside(w, l, src, size)
}

// inside goes on with the content of an opaque layer.
func (r *run) inside(w where, l *Layer, src io.ReaderAt, size int64) error {
	tree, err := mime.Walk(io.NewSectionReader(src, 0, size))
	if err != nil {
		return fmt.Errorf("read signed content: %w", err)
	}
	in := w.child(0)
	in.src, in.whole, in.layers = src, w.whole, w.layers+1
	in.signed = w.signed || w.whole && len(l.Signers) > 0
	if w.whole && len(l.Signers) > 0 {
		r.protection(in, l, tree.Root)
	}
	return r.entity(in, tree.Root)
}

// encrypted notes what is known of an encrypted layer.
func (r *run) encrypted(w where, l *Layer, obj *cms.Object) {
	e := obj.Encrypted
	l.Verdict = VerdictEncrypted
	l.Algorithm, l.Authenticated = e.Algorithm, e.AEAD
	l.Recipients, l.RecipientCount = e.Recipients, e.Count
	r.find("not_inspected", info, w.path, "the content is encrypted: no filter of ours has seen it", "")
	switch e.Algorithm {
	case "RC2", "RC4", "DES", "3DES", "CAST5":
		r.find("weak_encryption", warning, w.path, "encrypted with "+e.Algorithm+", which is no longer safe", "")
	}
	if !e.AEAD {
		r.find("malleable", info, w.path, "the ciphertext could be changed unnoticed ("+e.Algorithm+" without authentication)", "")
	}
	if w.signed {
		r.find("transport_signature", info, w.path,
			"the signature is around the ciphertext: it says who sent it, not who wrote the text", "")
	}
}

// compare notes where the header and the object differ.
func (r *run) compare(w where, p *mime.Part, is cms.Type) {
	says := mime.Get(p.Params, "smime-type")
	switch {
	case says == "":
		r.find("no_smime_type", info, w.path, "the part does not say which kind of S/MIME it is: "+string(is), "")
	case claimed(p) != is:
		r.find("smime_type", warning, w.path, fmt.Sprintf("announced as %s, but is %s", says, is), "")
	}
}

// finish comes to the verdict on the message.
func (r *run) finish() {
	worst, any := cms.Good, false
	sealed := false
	for _, l := range r.rep.Layers {
		if l.Attached {
			continue
		}
		switch l.Verdict {
		case "":
		case VerdictEncrypted:
			sealed = true
		default:
			any = true
			worst = max(worst, verdictOf(l.Verdict))
		}
	}
	if any && worst <= cms.Weak {
		worst = max(worst, r.identity())
	}
	if any && worst <= cms.Weak && r.unsigned {
		worst = cms.Unknown
	}
	switch {
	case any && worst > cms.Weak:
		r.rep.Verdict = worst.String()
	case sealed:
		r.rep.Verdict = VerdictEncrypted
	case any:
		r.rep.Verdict = worst.String()
	default:
		r.rep.Verdict = VerdictNone
	}
	if n := len(r.rep.Layers); n > 0 && r.rep.Has("too_many_layers") && r.rep.Verdict != "bad" {
		r.rep.Verdict = cms.Unknown.String()
	}
	r.nesting()
}

// nesting notes layers within layers.
func (r *run) nesting() {
	var kinds string
	for _, l := range r.rep.Layers {
		switch {
		case !l.Whole:
		case len(l.Signers) > 0:
			kinds += "s"
		case l.RecipientCount > 0:
			kinds += "e"
		}
	}
	switch {
	case len(kinds) > 2 && kinds[:2] == "se" || kinds == "se":
		// What is in the envelope cannot be seen; triple-wrapped mail looks like this from outside.
		r.find("nested", info, "", "signed, then encrypted: signed around an envelope (as triple-wrapped mail is)", "")
	case len(kinds) > 1:
		r.find("nested", info, "", fmt.Sprintf("%d layers of S/MIME, one inside the other", len(kinds)), "")
	}
}

func verdictOf(s string) cms.Verdict {
	for v := cms.Good; v <= cms.Bad; v++ {
		if v.String() == s {
			return v
		}
	}
	return cms.Bad
}
