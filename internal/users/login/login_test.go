package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/rs/zerolog"
	"github.com/xdg-go/scram"

	"hoplite/internal/users"
)

var here = Client{Addr: netip.MustParseAddr("192.0.2.1")}

// line returns a password in the form stored in the accounts file, with few
// iterations so that tests run fast.
func line(password string) string {
	c := scram.SHA256
	client, err := c.NewClient("", password, "")
	if err != nil {
		panic(err)
	}
	k, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		panic(err)
	}
	b := base64.StdEncoding.EncodeToString
	return "{SCRAM-SHA-256}4096," + b([]byte(k.Salt)) + "," + b(k.StoredKey) + "," + b(k.ServerKey)
}

func gate(t *testing.T) (*Gate, *users.Store) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	text := "ann@localhost\n\tpassword " + line("secret") + "\n\tapp phone " + line("télé") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := users.Open(path, []string{"mail.example.org", "localhost"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return NewGate(s, users.NewThrottle()), s
}

// talk runs a SASL exchange with the given client responses.
func talk(t *testing.T, g *Gate, mech string, c Client, answers ...string) (who string, said []string, err error) {
	t.Helper()
	srv, err := g.Server(context.Background(), mech, c, true, func(a *users.Account) { who = a.Name })
	if err != nil {
		return "", nil, err
	}
	for _, a := range answers {
		var in []byte
		if a != "<none>" {
			in = []byte(a)
		}
		out, done, err := srv.Next(in)
		said = append(said, string(out))
		if done || err != nil {
			return who, said, err
		}
	}
	return who, said, errors.New("not done")
}

func TestPlainAndLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gate(t)
		for _, c := range []struct {
			name, mech string
			answers    []string
			who        string
		}{
			{"plain", Plain, []string{"\x00ann@localhost\x00secret"}, "ann@localhost"},
			{"plain, asked first", Plain, []string{"<none>", "\x00ann\x00secret"}, "ann@localhost"},
			{"plain, app password", Plain, []string{"\x00ann\x00télé"}, "ann@localhost"},
			{"plain, as herself", Plain, []string{"ann\x00ann\x00secret"}, "ann@localhost"},
			{"plain, as another", Plain, []string{"bob\x00ann\x00secret"}, ""},
			{"plain, wrong", Plain, []string{"\x00ann\x00Secret"}, ""},
			{"plain, rubbish", Plain, []string{"rubbish"}, ""},
			{"plain, NUL in the password", Plain, []string{"\x00ann\x00secret\x00"}, ""},
			{"login", Login, []string{"<none>", "ann", "secret"}, "ann@localhost"},
			{"login, initial response", Login, []string{"ann", "secret"}, "ann@localhost"},
			{"login, wrong", Login, []string{"<none>", "ann", "x"}, ""},
			{"login, empty name", Login, []string{"<none>", "", ""}, ""},
			{"login, endless", Login, []string{"<none>", strings.Repeat("x", maxResponse+1)}, ""},
		} {
			who, _, err := talk(t, g, c.mech, here, c.answers...)
			if who != c.who || (err == nil) != (c.who != "") {
				t.Errorf("%s: %q, %v, want %q", c.name, who, err, c.who)
			}
		}
	})
}

// All failures have the same reply and the same delay. Only hashing uses real
// time.
func TestFailuresLookAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gate(t)
		for _, name := range []string{"ann", "eve", "", "ann@elsewhere.example"} {
			start := time.Now()
			_, err := g.Check(context.Background(), here, name, "wrong")
			if err != users.ErrBadLogin || time.Since(start) != failAfter {
				t.Errorf("%q: %v after %v", name, err, time.Since(start))
			}
		}
	})
}

func TestGuessingIsThrottledOverAllWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gate(t)
		checked := 0
		for i := range 60 {
			var err error
			switch i % 4 {
			case 0:
				_, _, err = talk(t, g, Plain, here, "\x00ann\x00wrong")
			case 1:
				_, err = g.Check(context.Background(), here, "ann", "wrong")
			case 2:
				_, err = scramTalk(g, Scram, here, "ann", "wrong", nil)
			case 3:
				_, _, err = talk(t, g, Plain, here, "bob\x00ann\x00secret")
			}
			if err == users.ErrBadLogin {
				checked++
			} else if err != users.ErrThrottled {
				t.Fatal(err)
			}
		}
		if checked > 20 {
			t.Errorf("%d of 60 guesses checked", checked)
		}
	})
}

// A recent login from one network does not make it easier to guess the password
// from another: cached passwords must not be checked before the throttle is
// consulted.
func TestNoWayAroundTheThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gate(t)
		ctx := context.Background()
		if _, err := g.Check(ctx, here, "ann", "secret"); err != nil {
			t.Fatal(err)
		}
		guesser := Client{Addr: netip.MustParseAddr("203.0.113.7")}
		for i := range 40 {
			name := []string{"ann", "ann@localhost", "Ann@LOCALHOST.", "ann@mail.example.org"}[i%4]
			g.Check(ctx, guesser, name, "wrong")
		}
		start := time.Now()
		if _, err := g.Check(ctx, guesser, "ann", "secret"); err != users.ErrThrottled {
			t.Errorf("the right password after 40 wrong ones: %v", err)
		}
		if d := time.Since(start); d < failAfter {
			t.Errorf("a refused attempt is answered after %v", d)
		}
		if _, err := scramTalk(g, Scram, guesser, "ann", "secret", nil); err != users.ErrThrottled {
			t.Errorf("by SCRAM: %v", err)
		}
		if _, err := g.Check(ctx, here, "ann", "secret"); err != nil {
			t.Errorf("where ann logged in: %v", err)
		}
		if _, err := scramTalk(g, Scram, here, "ann", "secret", nil); err != nil {
			t.Errorf("where ann logged in, by SCRAM: %v", err)
		}
	})
}

// SCRAM guesses are counted like others, whether or not the account exists.
func TestScramIsThrottled(t *testing.T) {
	for _, name := range []string{"ann", "eve"} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := gate(t)
			checked := 0
			for range 100 {
				if _, err := scramTalk(g, Scram, here, name, "wrong", nil); err == users.ErrBadLogin {
					checked++
				}
			}
			if checked > 20 {
				t.Errorf("%s: %d of 100 guesses checked", name, checked)
			}
		})
	}
}

// All spellings of a name without an account get the same salt, as they do for
// an existing account; otherwise accounts could be distinguished from other
// names.
func TestScramSaltsOfSpellings(t *testing.T) {
	g, s := gate(t)
	if err := s.Update(func(b *users.Book) error { return b.Add(&users.Account{Name: "none@localhost"}) }); err != nil {
		t.Fatal(err)
	}
	salt := func(name string) string {
		_, said, err := talk(t, g, Scram, here, "n,,n="+name+",r=abc")
		if len(said) != 1 {
			t.Fatal(said, err)
		}
		_, salt, _ := strings.Cut(said[0], ",")
		return salt // salt and iterations
	}
	for _, user := range []string{"ann", "eve", "none"} {
		want := salt(user)
		for _, spelling := range []string{user, user + "@localhost", strings.ToUpper(user) + "@LocalHost.", user + "@mail.example.org"} {
			if got := salt(spelling); got != want {
				t.Errorf("%s shows %s, %s shows %s", user, want, spelling, got)
			}
		}
	}
	if salt("eve") == salt("mallory") {
		t.Error("two names show the same salt")
	}
}

func TestFailuresDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gate(t)
		var out strings.Builder
		log := zerolog.New(&out)
		for range 1000 {
			g.LogFailure(here, log.Info()).Str("verdict", "refused").Msg("login")
		}
		time.Sleep(time.Hour)
		g.LogFailure(here, log.Info()).Msg("login")
		if n := strings.Count(out.String(), "\n"); n > 20 || !strings.Contains(out.String(), `"suppressed":99`) {
			t.Errorf("%d lines, ending in %s", n, out.String()[max(0, out.Len()-100):])
		}
	})
}

func TestVerifiedPasswordPassesTheThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gate(t)
		if _, err := g.Check(context.Background(), here, "ann", "secret"); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			g.Check(context.Background(), here, "eve", "wrong")
		}
		if _, err := g.Check(context.Background(), here, "ann", "secret"); err != nil {
			t.Errorf("behind the same address as a guesser: %v", err)
		}
	})
}

// scramTalk runs a real client against the server.
func scramTalk(g *Gate, mech string, c Client, name, password string, bind *scram.ChannelBinding) (who string, err error) {
	client, err := scram.SHA256.NewClient(name, password, "")
	if err != nil {
		return "", err
	}
	conv := client.NewConversation()
	if bind != nil {
		conv = client.NewConversationWithChannelBinding(*bind)
	}
	srv, err := g.Server(context.Background(), mech, c, false, func(a *users.Account) { who = a.Name })
	if err != nil {
		return "", err
	}
	in, err := conv.Step("")
	for err == nil {
		out, done, e := srv.Next([]byte(in))
		if e != nil || done {
			if who != "" && !conv.Valid() {
				e = errors.New("the client does not trust the server's proof")
			}
			return who, e
		}
		in, err = conv.Step(string(out))
	}
	return who, err
}

func TestScram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gate(t)
		for _, c := range []struct{ name, user, password, want string }{
			{"main password", "ann@localhost", "secret", "ann@localhost"},
			{"app password", "ann@localhost", "télé", "ann@localhost"},
			{"bare name, capitals", "Ann", "secret", "ann@localhost"},
			{"wrong", "ann", "Secret", ""},
			{"unknown", "eve", "secret", ""},
			{"odd name", "a,b=c", "secret", ""},
		} {
			who, err := scramTalk(g, Scram, here, c.user, c.password, nil)
			if who != c.want || (err == nil) != (c.want != "") || c.want == "" && err != users.ErrBadLogin {
				t.Errorf("%s: %q, %v", c.name, who, err)
			}
		}
		for _, first := range []string{"", "n,,", "n,,n=ann", "x,,n=ann,r=abc", "n,a=bob", "p=tls-exporter,,n=ann,r=abc", "\x00", "n,,n=a=b,r=abc"} {
			if _, _, err := talk(t, g, Scram, here, first, "c=biws,r=x,p=x"); err == nil {
				t.Errorf("first message %q got through", first)
			}
		}
		if who, _, err := talk(t, g, Scram, here, "n,a=bob,n=ann,r=abc", "c=x"); who != "" || err == nil {
			t.Error("ann may act as bob")
		}
	})
}

func TestScramPlus(t *testing.T) {
	g, _ := gate(t)
	client, server := tlsPair(t)
	c := Client{Addr: here.Addr, TLS: &server}
	bind, err := scram.NewTLSExporterBinding(&client)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := scramTalk(g, ScramPlus, c, "ann", "secret", &bind); who != "ann@localhost" {
		t.Errorf("bound: %q, %v", who, err)
	}
	if who, err := scramTalk(g, Scram, c, "ann", "secret", nil); who != "ann@localhost" {
		t.Errorf("not bound: %q, %v", who, err)
	}
	other := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte(strings.Repeat("x", 32))}
	if who, err := scramTalk(g, ScramPlus, c, "ann", "secret", &other); who != "" || err == nil {
		t.Error("bound to another connection: a man in the middle gets in")
	}
	if _, _, err := talk(t, g, Scram, c, "y,,n=ann,r=abc"); err == nil {
		t.Error("a client that was shown no PLUS is let in: downgrade")
	}
	if _, _, err := talk(t, g, ScramPlus, c, "n,,n=ann,r=abc"); err == nil {
		t.Error("PLUS without binding is let in")
	}
	want := []string{ScramPlus, Scram, Plain, Login}
	if got := g.Mechanisms(c, false); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("with TLS: %v", got)
	}
	if got := g.Mechanisms(here, false); strings.Join(got, " ") != Scram {
		t.Errorf("clear text: %v", got)
	}
	if _, err := g.Server(context.Background(), Plain, here, false, nil); err != ErrMechanism {
		t.Errorf("PLAIN in clear text: %v", err)
	}
}

func TestNoScramWhileAHashIsImported(t *testing.T) {
	g, s := gate(t)
	err := s.Update(func(b *users.Book) error {
		_, err := b.ImportDovecot(strings.NewReader("old:{MD5-CRYPT}$1$s$eSlDmdCX8nqs9SNxRTvrN.\n"), "passwd", "localhost")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := g.Mechanisms(here, true); strings.Join(got, " ") != "PLAIN LOGIN" {
		t.Errorf("announced %v", got)
	}
	if _, err := g.Check(context.Background(), here, "old", "x"); err != nil {
		t.Fatal(err)
	}
	if got := g.Mechanisms(here, true); len(got) != 3 {
		t.Errorf("after the first login: %v", got)
	}
}

// tlsPair returns both ends of a TLS 1.3 connection.
func tlsPair(t *testing.T) (client, server tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	srv := tls.Server(b, &tls.Config{SessionTicketsDisabled: true, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	cl := tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	errs := make(chan error, 1)
	go func() { errs <- srv.Handshake() }()
	if err := errors.Join(cl.Handshake(), <-errs); err != nil {
		t.Fatal(err)
	}
	return cl.ConnectionState(), srv.ConnectionState()
}

func FuzzScram(f *testing.F) {
	f.Add("n,,n=ann,r=abc", "c=biws,r=abc,p="+base64.StdEncoding.EncodeToString(make([]byte, 32)))
	f.Add("p=tls-exporter,,n=ann,r=abc", "c=,r=,p=")
	s, err := users.Open(filepath.Join(f.TempDir(), "users"), nil, zerolog.Nop())
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the client does not wait
	f.Fuzz(func(t *testing.T, first, final string) {
		g := NewGate(s, users.NewThrottle())
		for _, mech := range []string{Scram, Plain, Login} {
			srv, err := g.Server(ctx, mech, here, true, func(*users.Account) { t.Fatal("let in") })
			if err != nil {
				t.Fatal(err)
			}
			if _, done, err := srv.Next([]byte(first)); !done && err == nil {
				srv.Next([]byte(final))
			}
		}
	})
}

var _ sasl.Server = (*scramServer)(nil)
