package smime

import (
	"errors"
	"fmt"
	"io"

	"hoplite/internal/hold"
	"hoplite/mail/cms"
	"hoplite/mail/mime"
)

// layer adds a layer, or returns nil if there are too many.
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

// fail marks a layer that could not be read as bad.
func (r *run) fail(l *Layer, err error) error {
	var syntax *cms.SyntaxError
	if !errors.As(err, &syntax) && !errors.Is(err, cms.ErrTooLarge) {
		return err
	}
	l.Verdict, l.Reason = "bad", err.Error()
	r.find("unreadable", bad, l.Part, err.Error(), "")
	return nil
}

// clearSigned verifies a multipart/signed and descends into it.
func (r *run) clearSigned(w where, p *mime.Part) error {
	l := r.layer(w, "clear-signed")
	if l == nil {
		return nil
	}
	l.Type = cms.TypeSigned
	if len(p.Children) < 2 {
		l.Verdict, l.Reason = "bad", "a multipart/signed without its signature"
		r.find("no_signature", bad, w.path, l.Reason, "the signature may have been removed in transit")
		return r.children(w, p)
	}
	if len(p.Children) > 2 {
		r.unsigned = r.unsigned || w.whole
		r.find("partial", warning, w.path, "a multipart/signed with more than two parts: the rest is not signed", "")
	}
	inner, sig := p.Children[0], p.Children[1]
	obj, err := cms.Read(der(w.src, sig), cms.Options{Max: r.MaxSize, Memory: r.share})
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
		checkProtection(r, in, l, inner)
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
		r.find("content_twice", bad, w.path, "the signature contains content of its own: readers could see different messages", "")
	} else if changed(s) {
		if why := explain(w.src, span, inner, s, r.Certs); why != "" {
			r.find("changed", bad, w.path, why, "the signature was valid before that")
		} else {
			r.find("changed", bad, w.path, "the content was changed after it was signed", "")
		}
	}
	return r.extract(l, s, func(out io.Writer) error {
		_, err := io.Copy(out, content())
		return err
	})
}

// object verifies a CMS object and descends into it. p is the part that
// contains it, or nil for a separate object.
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
	obj, err := cms.Read(der, cms.Options{Max: r.MaxSize, Content: held, Memory: r.share})
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
	readable, err := r.describe(w, l, obj, content)
	if err != nil || !readable {
		return err
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
	if obj.ContentType != "" && obj.ContentType != string(cms.TypeData) {
		// S/MIME contains only MIME (RFC 8551, 2.4), so this is a CMS
		// object from another application.
		r.find("content_type", info, w.path, "the content is "+obj.ContentType+" and not mail: not checked", "")
		return nil
	}
	if size == 0 {
		return nil
	}
	return r.inside(w, l, src, size)
}

// describe records the properties of a CMS object and evaluates its signatures.
// It reports whether the object's content can be read.
func (r *run) describe(w where, l *Layer, obj *cms.Object, content io.Reader) (readable bool, err error) {
	switch obj.Type {
	case cms.TypeSigned:
		if obj.Signed.Detached {
			l.Form = "detached"
		}
		return true, r.judge(l, obj.Signed, content)
	case cms.TypeCertsOnly:
		for _, c := range obj.Signed.Certs {
			l.Certificates = append(l.Certificates, c.Subject())
		}
		return true, nil
	case cms.TypeCompressed, cms.TypeData:
		return true, nil
	case cms.TypeEnveloped, cms.TypeAuthEnveloped, cms.TypeEncrypted:
		r.encrypted(w, l, obj)
		return false, nil
	}
	l.Verdict, l.Reason = "unsupported", "a CMS object of type "+string(obj.Type)
	return false, nil
}

// inside descends into the content of an opaque layer.
func (r *run) inside(w where, l *Layer, src io.ReaderAt, size int64) error {
	tree, err := mime.Walk(io.NewSectionReader(src, 0, size))
	if err != nil {
		return fmt.Errorf("read signed content: %w", err)
	}
	in := w.child(0)
	in.src, in.whole, in.layers = src, w.whole, w.layers+1
	in.signed = w.signed || w.whole && len(l.Signers) > 0
	if w.whole && len(l.Signers) > 0 {
		checkProtection(r, in, l, tree.Root)
	}
	return r.entity(in, tree.Root)
}

// encrypted records what is known about an encrypted layer.
func (r *run) encrypted(w where, l *Layer, obj *cms.Object) {
	e := obj.Encrypted
	l.Verdict = VerdictEncrypted
	l.Algorithm, l.Authenticated = e.Algorithm, e.AEAD
	l.Recipients, l.RecipientCount = e.Recipients, e.Count
	r.find("not_inspected", info, w.path, "the content is encrypted: filters could not inspect it", "")
	switch e.Algorithm {
	case "RC2", "RC4", "DES", "3DES", "CAST5":
		r.find("weak_encryption", warning, w.path, "encrypted with "+e.Algorithm+", which is no longer safe", "")
	}
	if !e.AEAD {
		r.find("malleable", info, w.path, "the ciphertext can be modified unnoticed ("+e.Algorithm+" without authentication)", "")
	}
	if w.signed {
		r.find("transport_signature", info, w.path,
			"the signature covers the ciphertext: it identifies the sender, not the author of the text", "")
	}
}

// compare reports differences between the part's header and the CMS object.
func (r *run) compare(w where, p *mime.Part, is cms.Type) {
	says := mime.Get(p.Params, "smime-type")
	switch {
	case says == "":
		r.find("no_smime_type", info, w.path, "the part does not say which kind of S/MIME it is: "+string(is), "")
	case claimed(p) != is:
		r.find("smime_type", warning, w.path, fmt.Sprintf("declared as %s, but is %s", says, is), "")
	}
}
