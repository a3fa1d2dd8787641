// Package cms reads the Cryptographic Message Syntax (RFC 5652), the format
// below S/MIME: who signed, with what, and whether it holds; for encrypted
// mail, to whom and with what. It decrypts nothing and holds no keys.
//
// A message is read once, from front to back, over an io.Reader. Content is
// hashed and handed on as it passes, so 10 MiB of it cost no more memory than
// ten octets; what must be kept (certificates, signers) is bounded. Nothing
// here calls itself: five million nested elements are refused at the 33rd.
package cms

import (
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// Type is what a CMS object is, named as S/MIME's smime-type parameter does
// where it has a name (RFC 8551, 3.2.2).
type Type string

// The types that are told apart.
const (
	TypeData          Type = "data"
	TypeSigned        Type = "signed-data"
	TypeCertsOnly     Type = "certs-only"
	TypeEnveloped     Type = "enveloped-data"
	TypeAuthEnveloped Type = "authEnveloped-data"
	TypeCompressed    Type = "compressed-data"
	TypeDigested      Type = "digested-data"      // named, not processed
	TypeEncrypted     Type = "encrypted-data"     // named, not processed
	TypeAuthenticated Type = "authenticated-data" // named, not processed
	TypeUnknown       Type = "unknown"
)

// Options bound and direct a [Read].
type Options struct {
	// Max is the largest object in octets; 0 means 64 MiB.
	Max int64
	// MaxInflated is the largest content of a compressed object; 0 means 32 MiB.
	MaxInflated int64
	// Content receives what is signed, compressed or plain; nil drops it.
	Content io.Writer
}

const (
	defaultMax         = 64 << 20
	defaultMaxInflated = 32 << 20
)

// Object is one CMS object.
type Object struct {
	Type        Type
	OID         string     // the content type, dotted
	ContentType string     // of what is inside, by name; "" if the type holds none
	Size        int64      // octets of content, or of ciphertext
	Signed      *Signed    // of signed-data and certs-only
	Encrypted   *Encrypted // of enveloped-data, authEnveloped-data and encrypted-data
}

// Read reads one object, a ContentInfo, from r. Octets behind it stay unread,
// apart from what a buffer took. The error is a *[SyntaxError], wraps
// [ErrTooLarge], or comes from r or Options.Content.
func Read(r io.Reader, o Options) (*Object, error) {
	if o.Max <= 0 {
		o.Max = defaultMax
	}
	if o.MaxInflated <= 0 {
		o.MaxInflated = defaultMaxInflated
	}
	in := newReader(r, o.Max)
	defer in.close()
	obj, err := in.contentInfo(o)
	if err != nil {
		return nil, fmt.Errorf("read CMS: %w", err)
	}
	return obj, nil
}

// contentInfo reads RFC 5652, 3.
func (r *reader) contentInfo(o Options) (*Object, error) {
	if err := r.open(universal, tagSeq, "SEQUENCE at the start: this is no CMS object"); err != nil {
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

// plain reads a bare OCTET STRING.
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

// encapsulated reads the head of an EncapsulatedContentInfo and says whether
// content follows. It leaves the reader inside; closing takes leave, twice if
// content followed.
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
	// PKCS #7 allowed any type here; S/MIME needs octets (RFC 8551, 2.4.1).
	h, err := r.expect(universal, tagOctets, "OCTET STRING as content")
	if err != nil {
		return nil, id, err
	}
	s, err := r.octetString(h)
	return s, id, err
}

// compressedData reads RFC 3274, 1.1.
func (r *reader) compressedData(obj *Object, o Options) error {
	if err := r.open(universal, tagSeq, "compressed-data"); err != nil {
		return err
	}
	if err := r.integer("version"); err != nil {
		return err
	}
	h, err := r.next()
	if err != nil {
		return err
	}
	der, err := r.capture(h, maxPiece)
	if err != nil {
		return err
	}
	alg, err := parseAlgorithm(der)
	if err != nil {
		return r.fault("compression: %v", err)
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
	w := o.Content
	if w == nil {
		w = io.Discard
	}
	n, err := io.Copy(w, io.LimitReader(z, o.MaxInflated+1))
	if err != nil {
		return n, r.inflateError(err)
	}
	if n > o.MaxInflated {
		return n, fmt.Errorf("inflated content: %w (%d octets)", ErrTooLarge, o.MaxInflated)
	}
	return n, nil
}

func (r *reader) inflateError(err error) error {
	var s *SyntaxError
	if errors.As(err, &s) || errors.Is(err, ErrTooLarge) {
		return err
	}
	return r.fault("inflate: %v", err)
}
