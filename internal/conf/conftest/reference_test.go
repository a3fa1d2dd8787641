package conftest

import (
	"strings"
	"testing"
	"time"

	"hoplite/internal/conf"
)

// docConfig is the shop { ... } block: a fishmonger.
type docConfig struct {
	conf.Pos
	Name string `hcl:"name,label"`
	docHours
	// Tax is added to every price, 19 % without a setting.
	//
	// It may be zero.
	Tax float64 `hcl:"tax,optional" default:"0.19"`
	// Kinds are the fish that are sold.
	Kinds []string `hcl:"kinds" enum:"cod|eel"`
	Door  *docDoor `hcl:"door,block"`
}

type docHours struct {
	// Open is the time at which the shop opens.
	Open time.Duration `hcl:"open,optional" default:"8h"`
}

// docDoor is the listener for customers.
type docDoor struct {
	// Wide admits two customers at once.
	Wide bool `hcl:"wide,optional"`
}

const docWant = `
## Top level

- **"open"** — duration; default "'8h'". "open" is the time at which the shop
  opens.
- **"tax"** — number; default "0.19". "tax" is added to every price, 19 %
  without a setting.

  It may be zero.
- **"kinds"** — list of "'cod'", "'eel'"; required; for example "kinds =
  ['cod']". "kinds" are the fish that are sold.

### "door"

docDoor is the listener for customers.

- **"wide"** — boolean; default "false". "wide" admits two customers at once.
`

func TestReference(t *testing.T) {
	got, err := Reference("../../..", &docConfig{})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(`"`, "`", "'", `"`).Replace(docWant)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for line := range strings.Lines(got) {
		if len([]rune(line)) > width+1 {
			t.Errorf("over 80 columns: %s", line)
		}
	}
}

func TestReferenceWantsComments(t *testing.T) {
	type bare struct {
		Colour string `hcl:"colour,optional"`
	}
	if _, err := Reference("../../..", &bare{}); err == nil || !strings.Contains(err.Error(), "bare.Colour") {
		t.Errorf("a field without a comment: %v", err)
	}
}
