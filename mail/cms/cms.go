// Package cms reads the Cryptographic Message Syntax (RFC 5652), the format
// underlying S/MIME. It finds the signers and verifies their signatures; for
// encrypted mail, it lists the recipients and algorithms. It does not decrypt
// and needs no private keys. Package smime determines whether a signer's
// certificate is trusted. Start with [Read] and [Signed.Verify].
//
// An object is read once, from an io.Reader. Content is hashed and written in
// pieces, so memory use does not depend on its size, and the number of
// certificates and signers is limited. Parsing is not recursive; elements
// nested more than 32 deep are rejected.
package cms

import (
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"hoplite/internal/memory"
)

// Type is the type of a CMS object. The names are the values of S/MIME's
// smime-type parameter where these exist (RFC 8551, 3.2.2).
type Type string

// The types of objects.
const (
	TypeData          Type = "data"
	TypeSigned        Type = "signed-data"
	TypeCertsOnly     Type = "certs-only"
	TypeEnveloped     Type = "enveloped-data"
	TypeAuthEnveloped Type = "authEnveloped-data"
	TypeCompressed    Type = "compressed-data"
	TypeDigested      Type = "digested-data"      // recognised but not processed
	TypeEncrypted     Type = "encrypted-data"     // recognised but not processed
	TypeAuthenticated Type = "authenticated-data" // recognised but not processed
	TypeUnknown       Type = "unknown"
)

// Options controls a [Read].
type Options struct {
	// Max is the maximum size of an object in octets; 0 means 64 MiB.
	Max int64
	// MaxInflated is the maximum size of the content of a compressed
	// object; 0 means 32 MiB.
	MaxInflated int64
	// Content receives the signed, compressed or plain content. If it is
	// nil, the content is discarded.
	Content io.Writer
	// Memory is the share from which memory for certificates, revocation
	// lists and signers is reserved; nil means no limit. The caller must
	// return the memory.
	Memory *memory.Share
}

const (
	defaultMax         = 64 << 20
	defaultMaxInflated = 32 << 20
)

// Object is one CMS object.
type Object struct {
	Type        Type
	OID         string     // the content type in dotted form
	ContentType string     // the type of the content, by name; "" if there is none
	Size        int64      // size of the content or ciphertext in octets
	Signed      *Signed    // for signed-data and certs-only
	Encrypted   *Encrypted // for enveloped-data, authEnveloped-data and encrypted-data
}

// Read reads one object, a ContentInfo, from r. It may read beyond the end of
// the object. The error is a *[SyntaxError], wraps [ErrTooLarge] or
// [memory.ErrFull], or was returned by r or Options.Content.
func Read(r io.Reader, o Options) (*Object, error) {
	if o.Max <= 0 {
		o.Max = defaultMax
	}
	if o.MaxInflated <= 0 {
		o.MaxInflated = defaultMaxInflated
	}
	in := newReader(r, o)
	defer in.close()
	obj, err := in.contentInfo(o)
	if err != nil {
		return nil, fmt.Errorf("read CMS: %w", err)
	}
	return obj, nil
}

// contentInfo reads a ContentInfo (RFC 5652, 3).
func (r *reader) contentInfo(o Options) (*Object, error) {
	if err := r.open(universal, tagSeq, "SEQUENCE at the start: not a CMS object"); err != nil {
		return nil, err
	}
	id, err := r.oid("content type")
	if err != nil {
		return nil, err
	}
	if err := r.open(context, 0, "content"); err != nil {
		return nil, err
	}
	obj := &Object{Type: TypeUnknown, OID: id.dotted()}
	switch id {
	case oidData:
		obj.Type = TypeData
		err = r.plain(obj, o)
	case oidSigned:
		obj.Type = TypeSigned
		err = r.signedData(obj, o)
	case oidEnveloped, oidAuthEnveloped:
		obj.Type = TypeEnveloped
		if id == oidAuthEnveloped {
			obj.Type = TypeAuthEnveloped
		}
		err = r.envelopedData(obj)
	case oidEncrypted:
		obj.Type = TypeEncrypted
		err = r.encryptedData(obj)
	case oidCompressed:
		obj.Type = TypeCompressed
		err = r.compressedData(obj, o)
	default:
		switch id {
		case oidDigested:
			obj.Type = TypeDigested
		case oidAuthData:
			obj.Type = TypeAuthenticated
		}
		var h header
		if h, err = r.next(); err == nil {
			err = r.skip(h)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := r.leave(); err != nil {
		return nil, err
	}
	return obj, r.leave()
}

// plain reads an OCTET STRING.
func (r *reader) plain(obj *Object, o Options) error {
	h, err := r.expect(universal, tagOctets, "OCTET STRING")
	if err != nil {
		return err
	}
	s, err := r.octetString(h)
	if err != nil {
		return err
	}
	obj.Size, err = copyChunks(s, func(b []byte) error { return write(o.Content, b) })
	return err
}

func copyChunks(s *octets, to func([]byte) error) (int64, error) {
	for {
		b, err := s.chunk()
		if err == io.EOF {
			return s.n, nil
		}
		if err == nil {
			err = to(b)
		}
		if err != nil {
			return s.n, err
		}
	}
}

func write(w io.Writer, b []byte) error {
	if w == nil {
		return nil
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write content: %w", err)
	}
	return nil
}

// encapsulated reads the start of an EncapsulatedContentInfo and returns its
// content, if there is any. The reader is then inside the element, and the
// caller must call leave, or leave twice if there is content.
func (r *reader) encapsulated(obj *Object) (*octets, oid, error) {
	if err := r.open(universal, tagSeq, "encapsulated content"); err != nil {
		return nil, "", err
	}
	id, err := r.oid("type of the encapsulated content")
	if err != nil {
		return nil, "", err
	}
	obj.ContentType = id.String()
	more, err := r.more()
	if err != nil || !more {
		return nil, id, err
	}
	if err := r.open(context, 0, "encapsulated content"); err != nil {
		return nil, id, err
	}
	// PKCS #7 allows any type here, but S/MIME requires octets (RFC 8551,
	// 2.4.1).
	h, err := r.expect(universal, tagOctets, "OCTET STRING as content")
	if err != nil {
		return nil, id, err
	}
	s, err := r.octetString(h)
	return s, id, err
}

// compressedData reads a CompressedData (RFC 3274, 1.1).
func (r *reader) compressedData(obj *Object, o Options) error {
	if err := r.open(universal, tagSeq, "compressed-data"); err != nil {
		return err
	}
	if err := r.integer("version"); err != nil {
		return err
	}
	alg, err := r.algorithm("compression")
	if err != nil {
		return err
	}
	if alg.id != oidZlib {
		return r.fault("compressed with %s, which is not zlib", alg.id)
	}
	s, _, err := r.encapsulated(obj)
	if err != nil {
		return err
	}
	if s != nil {
		if obj.Size, err = r.inflate(s, o); err != nil {
			return err
		}
		if err := s.drain(); err != nil {
			return err
		}
		if err := r.leave(); err != nil {
			return err
		}
	}
	if err := r.leave(); err != nil {
		return err
	}
	return r.leave()
}

func (r *reader) inflate(s *octets, o Options) (int64, error) {
	z, err := zlib.NewReader(s)
	if err != nil {
		return 0, r.inflateError(err)
	}
	w := &contentWriter{w: o.Content}
	n, err := io.Copy(w, io.LimitReader(z, o.MaxInflated+1))
	if w.err != nil {
		return n, w.err
	}
	if err != nil {
		return n, r.inflateError(err)
	}
	if n > o.MaxInflated {
		return n, fmt.Errorf("inflated content: %w (%d octets)", ErrTooLarge, o.MaxInflated)
	}
	return n, nil
}

// contentWriter records an error from Options.Content, which is not a fault in
// the object.
type contentWriter struct {
	w   io.Writer
	err error
}

func (c *contentWriter) Write(p []byte) (int, error) {
	if c.err = write(c.w, p); c.err != nil {
		return 0, c.err
	}
	return len(p), nil
}

// inflateError reports a decompression error as a fault in the object, unless
// the reader caused it.
func (r *reader) inflateError(err error) error {
	var s *SyntaxError
	if errors.As(err, &s) || errors.Is(err, ErrTooLarge) || r.err != nil && r.err != io.EOF {
		return err
	}
	return r.fault("inflate: %v", err)
}
