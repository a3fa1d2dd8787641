package users

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func open(t testing.TB, text string) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if text != "" {
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(path, []string{"mail.example.org", "localhost"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// add creates an account with cheap keys, so that tests run fast.
func add(t testing.TB, s *Store, name, password string, more ...func(*Account)) {
	t.Helper()
	err := s.Update(func(b *Book) error {
		k := derive(password, []byte("salt of "+name), 1)
		a := &Account{Name: name, Credentials: []Credential{{Keys: &k}}}
		for _, m := range more {
			m(a)
		}
		return b.Add(a)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileKeepsEverything(t *testing.T) {
	s := open(t, `# the boss
ann@example.org
	# her own
	role admin
	forward Bob@Example.NET
	quota 1048576
	password {SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1

bob@localhost
# the end
`)
	if s.SCRAMReady() {
		t.Error("SCRAM is ready although a hash is imported")
	}
	if err := s.Update(func(b *Book) error {
		a, _ := b.Account("bob@localhost")
		return errors.Join(a.SetPassword("", "one"), a.SetPassword("phone", "two"))
	}); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(s.path)
	for _, want := range []string{"# the boss\n", "# the end\n", "# her own\n", "\tforward Bob@Example.NET\n", "\tquota 1048576\n", "\trole admin\n", "\tapp phone {SCRAM-SHA-256}", "\tpassword $6$salt"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file lost %q:\n%s", want, text)
		}
	}
	if st, _ := os.Stat(s.path); st.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v now", st.Mode())
	}
	again, err := Open(s.path, []string{"localhost"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	bob, ok := again.Account("bob")
	if !ok || len(bob.Credentials) != 2 || !bytes.Equal(bob.Credentials[0].Keys.Salt, bob.Credentials[1].Keys.Salt) {
		t.Errorf("bob is %+v: want two passwords of one salt", bob)
	}
	if left, _ := filepath.Glob(s.path + ".tmp*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFileMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no domain", "ann\n", "users:1: account \"ann\": want a full address"},
		{"capitals", "Ann@example.org\n", `write it as "ann@example.org"`},
		{"slash", "a/b@example.org\n", "users:1:"},
		{"dots", "../x@example.org\n", "users:1:"},
		{"twice", "a@b.example\n\na@b.example\n", "users:3: account a@b.example exists already"},
		{"setting first", "\trole admin\n", "users:1: setting without an account"},
		{"unknown setting", "a@b.example\n\tcolour red\n", `users:2: unknown setting "colour"`},
		{"bad hash", "a@b.example\n\tpassword secret\n", "users:2: unknown kind of password hash"},
		{"bad keys", "a@b.example\n\tpassword {SCRAM-SHA-256}1,AA==,AA==,AA==\n", "users:2:"},
		{"costly keys", "a@b.example\n\tpassword {SCRAM-SHA-256}99999999999,AA==,AA==,AA==\n", "users:2: iterations"},
		{"role", "a@b.example\n\trole king\n", "users:2: role"},
		{"quota", "a@b.example\n\tquota -1\n", "users:2: quota"},
		{"two mistakes", "x\ny\n", "users:2:"},
		{"long line", strings.Repeat("x", maxLine+1), "users:1: bufio.Scanner: token too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parseBook(strings.NewReader(c.text), "users"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	s := open(t, "")
	add(t, s, "ann@example.org", "secret")
	add(t, s, "bob@localhost", "word")
	add(t, s, "bob@mail.example.org", "other")
	add(t, s, "nobody@example.org", "x", func(a *Account) { a.Credentials = nil })
	for _, c := range []struct {
		name, login, password, want string
	}{
		{"right", "ann@example.org", "secret", "ann@example.org"},
		{"case of the name", "Ann@Example.ORG", "secret", "ann@example.org"},
		{"wrong password", "ann@example.org", "Secret", ""},
		{"empty password", "ann@example.org", "", ""},
		{"unknown", "eve@example.org", "secret", ""},
		{"bare, first host", "bob", "other", "bob@mail.example.org"},
		{"bare, not at other domains", "ann", "secret", ""},
		{"no credentials", "nobody@example.org", "x", ""},
		{"nothing", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // first with an empty cache, then with a full one
				a, err := s.Verify(context.Background(), c.login, c.password)
				if c.want == "" && err != ErrBadLogin || c.want != "" && (err != nil || a.Name != c.want) {
					t.Errorf("got %v, %v, want %q", a, err, c.want)
				}
			}
		})
	}
}

func TestChangedPasswordIsInForceAtOnce(t *testing.T) {
	s := open(t, "")
	add(t, s, "ann@example.org", "old")
	if _, err := s.Verify(context.Background(), "ann@example.org", "old"); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.known("ann@example.org", "old"); !ok {
		t.Error("a verified password is not known")
	}
	if err := s.Update(func(b *Book) error {
		a, _ := b.Account("ann@example.org")
		return a.SetPassword("", "new")
	}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.known("ann@example.org", "old"); ok {
		t.Error("the old password is still known")
	}
	if _, err := s.Verify(context.Background(), "ann@example.org", "old"); err != ErrBadLogin {
		t.Errorf("old password: %v", err)
	}
	if _, err := s.Verify(context.Background(), "ann@example.org", "new"); err != nil {
		t.Errorf("new password: %v", err)
	}
}

func TestImportedHashIsUpgraded(t *testing.T) {
	var text strings.Builder
	for i := range 3 {
		fmt.Fprintf(&text, "u%d@example.org\n\tpassword $5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n", i)
	}
	s := open(t, text.String())
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			a, err := s.Verify(context.Background(), fmt.Sprintf("u%d@example.org", i), "Hello world!")
			if err != nil || a.Credentials[0].Keys == nil {
				t.Errorf("login %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if !s.SCRAMReady() {
		t.Error("SCRAM is not ready although all have logged in")
	}
	if text, _ := os.ReadFile(s.path); strings.Contains(string(text), "$5$") {
		t.Errorf("an imported hash is still there:\n%s", text)
	}
	if _, ok := s.known("u1@example.org", "Hello world!"); !ok {
		t.Error("the upgraded password is not remembered")
	}
}

func TestReload(t *testing.T) {
	s := open(t, "")
	other, err := Open(s.path, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	add(t, other, "ann@example.org", "x")
	add(t, s, "bob@example.org", "x") // must not lose the change made by the other store
	if _, ok := s.Account("ann@example.org"); !ok {
		t.Error("the other process's account was lost")
	}
	if err := other.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, ok := other.Account("bob@example.org"); !ok {
		t.Error("the change was not seen")
	}
	if err := os.WriteFile(s.path, []byte("broken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "users:1:") {
		t.Errorf("a broken file: %v", err)
	}
	if _, ok := s.Account("ann@example.org"); !ok {
		t.Error("a broken file took the accounts away")
	}
	if err := s.Update(func(*Book) error { return nil }); err == nil {
		t.Error("a broken file was overwritten")
	}
}

// If root changes the file while a server is running, it is still owned by the
// server's user.
func TestRootLeavesTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	s := open(t, "")
	dir := filepath.Dir(s.path)
	if err := os.Chown(dir, 12345, 12346); err != nil {
		t.Skip(err)
	}
	add(t, s, "ann@example.org", "x")
	add(t, s, "bob@example.org", "x")
	for _, path := range []string{s.path, s.path + ".lock"} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if owner := st.Sys().(*syscall.Stat_t); owner.Uid != 12345 || owner.Gid != 12346 {
			t.Errorf("%s belongs to %d:%d", path, owner.Uid, owner.Gid)
		}
	}
}

func TestUpdateThatFailsChangesNothing(t *testing.T) {
	s := open(t, "")
	add(t, s, "ann@example.org", "x")
	before, _ := os.ReadFile(s.path)
	oops := errors.New("oops")
	err := s.Update(func(b *Book) error {
		a, _ := b.Account("ann@example.org")
		a.Roles = []string{Admin}
		return oops
	})
	after, _ := os.ReadFile(s.path)
	if a, _ := s.Account("ann@example.org"); err != oops || a.Is(Admin) || !bytes.Equal(before, after) {
		t.Errorf("error %v, account %+v", err, a)
	}
}

func TestDecoyKeepsItsSalt(t *testing.T) {
	s := open(t, "")
	add(t, s, "ann@example.org", "x")
	_, one := s.SCRAM("eve@example.org")
	again, err := Open(s.path, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	_, two := again.SCRAM("eve@example.org")
	if !bytes.Equal(one[0].Salt, two[0].Salt) || bytes.Equal(one[0].Stored, two[0].Stored) {
		t.Error("want the same salt and never the same key after a restart")
	}
	if _, other := s.SCRAM("mallory@example.org"); bytes.Equal(one[0].Salt, other[0].Salt) {
		t.Error("two names share a salt")
	}
}

func TestImportDovecot(t *testing.T) {
	b := newBook()
	n, err := b.ImportDovecot(strings.NewReader(`# comment
ann@example.org:{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1:1000:1000::/home/ann::userdb_quota_rule=*:storage=5G
bob:{PLAIN}secret
eve:{SSHA}abc=
carl@example.org:{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
ann@example.org:{PLAIN}again
nonsense
`), "passwd", "example.com")
	if n != 3 {
		t.Errorf("imported %d, want 3", n)
	}
	for _, want := range []string{"passwd:4: eve@example.com: {SSHA}: unknown", "passwd:6: account ann@example.org exists", "passwd:7: want user:password"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
	ann, _ := b.Account("ann@example.org")
	if ann == nil || ann.Quota != 5<<30 || !verifyLegacy(ann.Credentials[0].Legacy, "Hello world!") {
		t.Errorf("ann is %+v", ann)
	}
	bob, _ := b.Account("bob@example.com")
	if bob == nil || bob.Credentials[0].Keys == nil {
		t.Errorf("bob is %+v", bob)
	}
}

func FuzzBook(f *testing.F) {
	f.Add("# c\nann@example.org\n\trole admin\n\tquota 5\n\tforward b@c.example\n\tpassword " + derive("x", []byte("s"), 1).String() + "\n")
	f.Add("a@b\n app x $1$abc$def\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBook(strings.NewReader(text), "users")
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		b.WriteTo(&once)
		again, err := parseBook(bytes.NewReader(once.Bytes()), "users")
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once.String())
		}
		again.WriteTo(&twice)
		if again.Decoy == nil || once.String() != twice.String() {
			t.Fatalf("changes at each writing:\n%s\n%s", once.String(), twice.String())
		}
	})
}

func BenchmarkWarmLogin(b *testing.B) {
	s := open(b, "")
	add(b, s, "ann@example.org", "secret")
	if _, err := s.Verify(context.Background(), "ann@example.org", "secret"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, ok := s.known("ann@example.org", "secret"); !ok {
			b.Fatal("not known")
		}
	}
}

func BenchmarkColdHash(b *testing.B) {
	for b.Loop() {
		derive("secret", []byte("0123456789abcdef"), iterations)
	}
}

func TestVerifiedExpires(t *testing.T) {
	s := open(t, "")
	add(t, s, "ann@example.org", "secret")
	a, _ := s.Account("ann@example.org")
	h := s.verified.hash(a.Name, "secret")
	s.verified.m.Add(h, knownKeys{[32]byte(a.Credentials[0].Keys.Stored), time.Now().Add(-time.Second)})
	if _, ok := s.known("ann@example.org", "secret"); ok {
		t.Error("an expired entry counts")
	}
}
