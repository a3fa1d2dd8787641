package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCode(t *testing.T) {
	run := func(args ...string) string {
		t.Helper()
		cmd := codeCommand()
		var out strings.Builder
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		if err := cmd.Execute(); err != nil {
			return "error: " + err.Error()
		}
		for line := range strings.Lines(out.String()) {
			if len([]rune(strings.TrimSuffix(line, "\n"))) > 80 && !strings.Contains(line, "https://") && args[0] != "--json" {
				t.Errorf("%q: a line of more than 80 columns: %s", args, line)
			}
		}
		return out.String()
	}
	tests := map[string][]string{
		"452":    {"452  "},
		"5.7.30": {"5.7.30  REQUIRETLS", "from    Microsoft 365", "from    Gmail"},
		"550 5.7.30 Basic authentication is not supported": {"Microsoft 365", "job   the admin of the sending device"},
		"550 5.0.0 computer says no":                       {"This text is not known; its code means:", "550  refused"},
		"hello":                                            {"error: no known text and no reply code"},
	}
	for text, wants := range tests {
		got := run(text)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%q: no %q in\n%s", text, want, got)
			}
		}
	}
	// A code without a text may have any of its meanings; the general one is first.
	for code, wants := range map[string][2]string{
		"5.1.1": {"5.1.1  no such mailbox", "Gmail"}, "5.7.30": {"5.7.30  REQUIRETLS", "Microsoft 365"}, "5.7.515": {"5.7.515  ", "Outlook.com"},
	} {
		if got := run(code); !strings.HasPrefix(got, wants[0]) || strings.Index(got, "a meaning of their own:") > strings.Index(got, "from    "+wants[1]) {
			t.Errorf("%s:\n%s", code, got)
		}
	}
	// An entry that only repeats the code's own meaning is left out.
	if got := run("5.7.30"); strings.Contains(got, "servers with REQUIRETLS") {
		t.Errorf("5.7.30: the general meaning is repeated:\n%s", got)
	}
	var list []codeJSON
	if err := json.Unmarshal([]byte(run("--json", "550 5.7.30 Basic authentication is not supported")), &list); err != nil || len(list) != 1 || list[0].By == "" || list[0].Next == "" {
		t.Errorf("JSON: %+v, %v", list, err)
	}
}
