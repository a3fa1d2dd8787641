package login

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"hoplite/internal/users"
	"hoplite/mail"
)

// maxResponse is the maximum length of a response.
const maxResponse = 8192

// scramServer implements SCRAM-SHA-256 (RFC 5802, 7677) as a sasl.Server. An
// account may have several passwords. A separate conversation runs for each of
// them, and the login succeeds if the client proves that it holds one of the
// keys.
type scramServer struct {
	gate   *Gate
	ctx    context.Context
	client Client
	plus   bool
	done   func(*users.Account)

	step    int
	account *users.Account
	name    string
	talks   []*scram.ServerConversation
}

// binding returns the channel binding of a connection (RFC 9266), or nil if
// there is none, for example with TLS 1.2 without extended master secret.
func binding(cs *tls.ConnectionState) *scram.ChannelBinding {
	if cs == nil {
		return nil
	}
	data, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return &scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: data}
}

// Next handles one response of the client.
func (s *scramServer) Next(response []byte) ([]byte, bool, error) {
	if len(response) > maxResponse {
		return nil, true, errors.New("response too long")
	}
	if s.step == 0 && response == nil {
		return []byte{}, false, nil // request the missing initial response
	}
	s.step++
	switch s.step {
	case 1:
		return s.first(string(response))
	case 2:
		return s.final(string(response))
	case 3: // the client acknowledges the server's proof
		if len(response) != 0 {
			return nil, true, sasl.ErrUnexpectedClientResponse
		}
		s.done(s.account)
		return nil, true, nil
	}
	return nil, true, sasl.ErrUnexpectedClientResponse
}

// first handles the client's first message, which contains its name, and starts
// the conversations.
func (s *scramServer) first(message string) ([]byte, bool, error) {
	if s.plus != strings.HasPrefix(message, "p=") {
		return nil, true, errors.New("channel binding does not match the mechanism")
	}
	name, err := nameIn(message)
	if err != nil {
		return nil, true, err
	}
	s.name = name
	if s.gate.throttle.Refused(s.client.Addr, s.gate.auth.LoginName(name)) {
		try, err := s.gate.begin(s.ctx, s.client, name) // counts the attempt
		if err != nil {
			return nil, true, err
		}
		try.Cancel()
	}
	account, keys := s.gate.auth.SCRAM(name)
	s.account = account
	var nonce, challenge string
	for i, k := range keys {
		talk, err := s.talk(k, &nonce)
		if err != nil {
			return nil, true, err
		}
		out, err := talk.Step(message)
		if err != nil {
			return nil, true, err
		}
		if id := talk.AuthzID(); id != "" && mail.Key(id) != mail.Key(name) {
			s.account = nil // logins on behalf of another account are refused
		}
		if i == 0 {
			challenge = out
		}
		s.talks = append(s.talks, talk)
	}
	return []byte(challenge), false, nil
}

// talk returns the conversation for one set of keys. All conversations use the
// same nonce.
func (s *scramServer) talk(k users.Keys, nonce *string) (*scram.ServerConversation, error) {
	srv, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations},
			StoredKey:  k.Stored, ServerKey: k.Server,
		}, nil
	})
	if err != nil {
		return nil, err
	}
	if *nonce == "" {
		*nonce = newNonce()
	}
	srv.WithNonceGenerator(func() string { return *nonce })
	if b := binding(s.client.TLS); b != nil {
		return srv.NewConversationWithChannelBinding(*b), nil
	}
	return srv.NewConversation(), nil
}

// final checks the client's proof and returns the server's.
func (s *scramServer) final(message string) ([]byte, bool, error) {
	try, err := s.gate.begin(s.ctx, s.client, s.name)
	if err != nil {
		return nil, true, err
	}
	begun := time.Now()
	for _, t := range s.talks {
		out, err := t.Step(message)
		if err == nil && t.Valid() && s.account != nil {
			try.Succeeded()
			return []byte(out), false, nil
		}
	}
	return nil, true, s.gate.fail(s.ctx, try, begun)
}

// nameIn returns the name in a client's first message, which has the form
// n,a=authzid,n=name,r=nonce.
func nameIn(message string) (string, error) {
	for i, f := range strings.SplitN(message, ",", 5) {
		if i >= 2 && strings.HasPrefix(f, "n=") {
			return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(f[2:]), nil
		}
	}
	return "", errors.New("no name in the first message")
}

// newNonce returns the server's part of the nonce, 144 random bits.
func newNonce() string {
	b := make([]byte, 18)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}
