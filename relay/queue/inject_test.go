package queue

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestInject(t *testing.T) {
	write := func(t *testing.T, dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := func(t *testing.T, dir string) (names []string) {
		t.Helper()
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			names = append(names, e.Name())
		}
		return names
	}
	for _, tc := range []struct {
		name, json, eml string
		to              []string
		left            []string
	}{
		{name: "a pair from deferred", eml: "Subject: x\r\n\r\nbody\r\n", json: `{"upstream":"out","from":"ann@example.org","rcpts":[{"to":"a@example.net"},{"to":"b@example.net","state":"delivered"},{"to":"c@example.net","state":"waiting"}]}`, to: []string{"a@example.net", "c@example.net"}},
		{name: "written with an editor", eml: "Subject: x\n\nbody\n", json: `{"upstream":"out","from":"","rcpts":[{"to":"a@example.net"}]}`, to: []string{"a@example.net"}},
		{name: "a quarantine survives the move", eml: "Subject: x\r\n\r\nbody\r\n", json: `{"upstream":"out","held":"virus","quarantine":"virus","rcpts":[{"to":"a@example.net"}]}`},
		{name: "an administrator's hold does not", eml: "Subject: x\r\n\r\nbody\r\n", json: `{"upstream":"out","held":"moving","rcpts":[{"to":"a@example.net"}]}`, to: []string{"a@example.net"}},
		{name: "invalid JSON", eml: "x", json: `{`, left: []string{"m.bad", "m.json.bad"}},
		{name: "no waiting recipient", eml: "x", json: `{"rcpts":[{"to":"a@example.net","state":"failed"}]}`, left: []string{"m.bad", "m.json.bad"}},
		{name: "invalid recipient", eml: "x", json: `{"rcpts":[{"to":"a@example.net\r\nb"}]}`, left: []string{"m.bad", "m.json.bad"}},
		{name: "invalid sender", eml: "x", json: `{"from":"@","rcpts":[{"to":"a@example.net"}]}`, left: []string{"m.bad", "m.json.bad"}},
		{name: "an incomplete pair waits", json: `{"rcpts":[{"to":"a@example.net"}]}`, left: []string{"m.json"}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			dir := t.TempDir()
			h := newTestQueue(t, func(o *Options) { o.Inject = dir })
			if tc.eml != "" {
				write(t, dir, "m.eml", tc.eml)
			}
			write(t, dir, "m.json", tc.json)
			pass(time.Minute)
			if got := h.out.to(); !slices.Equal(got, tc.to) {
				t.Errorf("delivered to %q", got)
			}
			if left := files(t, dir); !slices.Equal(left, tc.left) {
				t.Errorf("left: %q", left)
			}
			if l := h.List(Filter{State: "held"}, 0); len(l) == 1 != strings.Contains(tc.json, "quarantine") {
				t.Errorf("held: %+v", l)
			}
			for _, d := range h.out.deliveries() {
				if !strings.HasSuffix(d.text, "\r\n\r\nbody\r\n") {
					t.Errorf("text %q", d.text)
				}
			}
		})
	}
	t.Run("a link is not followed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			h := newTestQueue(t, func(o *Options) { o.Inject = dir })
			write(t, dir, "m.json", `{"upstream":"out","rcpts":[{"to":"a@example.net"}]}`)
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "m.eml")); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
			if len(h.out.to()) > 0 {
				t.Error("delivered")
			}
		})
	})
}
