package received

import (
	"testing"
	"time"
)

// TestForeignDates parses dates from servers and mail programs that do not
// follow RFC 5322.
func TestForeignDates(t *testing.T) {
	for in, want := range map[string]string{
		"Tue, 12 May 2026 10:30:06 Pacific Daylight Time":              "2026-05-12T10:30:06-07:00",
		"Tue, 12 May 2026 10:30:06 Pacific Standard Time":              "2026-05-12T10:30:06-08:00",
		"Tue, 12 May 2026 10:30:06 (W. Europe Daylight Time)":          "2026-05-12T10:30:06+02:00",
		"Tue, 12 May 2026 10:30:06 GMT Daylight Time":                  "2026-05-12T10:30:06+01:00",
		"Tue, 12 May 2026 10:30:06 Central European Summer Time":       "2026-05-12T10:30:06+02:00",
		"Tue, 12 May 2026 10:30:06 Mitteleuropäische Sommerzeit":       "2026-05-12T10:30:06+02:00",
		"Tue, 12 May 2026 10:30:06 India Standard Time":                "2026-05-12T10:30:06+05:30",
		"Wed, 1 Jul 2026 10:30:06 EST5EDT":                             "2026-07-01T10:30:06-04:00",
		"Sat, 7 Mar 2026 10:30:06 EST5EDT":                             "2026-03-07T10:30:06-05:00",
		"Sun, 8 Mar 2026 10:30:06 EST5EDT":                             "2026-03-08T10:30:06-04:00",
		"Sat, 31 Oct 2026 10:30:06 PST8PDT":                            "2026-10-31T10:30:06-07:00",
		"Sun, 1 Nov 2026 10:30:06 PST8PDT":                             "2026-11-01T10:30:06-08:00",
		"mar., 12 mai 2026 10:30:06 +0200":                             "2026-05-12T10:30:06+02:00",
		"mar. 12 mars 2024 10:30:06 +0100":                             "2024-03-12T10:30:06+01:00",
		"sam. 1 août 2026 10:30:06 +0200":                              "2026-08-01T10:30:06+02:00",
		"Mar 12 08:30:02 2024":                                         "2024-03-12T08:30:02",
		"Di, 12 Mai 2026 10:30:06 +0200":                               "2026-05-12T10:30:06+02:00",
		"Do, 12. März 2026 10:30:06 +0100":                             "2026-03-12T10:30:06+01:00",
		"Mi, 9 Dez 2026 10:30:06 +0100":                                "2026-12-09T10:30:06+01:00",
		"mié, 12 ago 2026 10:30:06 +0200":                              "2026-08-12T10:30:06+02:00",
		"qua, 12 ago 2026 10:30:06 -0300":                              "2026-08-12T10:30:06-03:00",
		"gio, 12 lug 2026 10:30:06 +0200":                              "2026-07-12T10:30:06+02:00",
		"Tue, 12 May 2026 08.30.06 +0200":                              "2026-05-12T08:30:06+02:00",
		"2026/05/12 08:30:06 +0200":                                    "2026-05-12T08:30:06+02:00",
		"12-May-2026 08:30:06 +0200":                                   "2026-05-12T08:30:06+02:00",
		"4-20-2018 08:30:06 +0200":                                     "2018-04-20T08:30:06+02:00",
		"Tue, 12 May 2026 10:30:06 Planet Express Time":                "2026-05-12T10:30:06",
		"Tue, 12 May 2026 10:30:06 XYZT":                               "2026-05-12T10:30:06",
		"Tue, 12 May 2026 10:30:06":                                    "2026-05-12T10:30:06",
		"Tue, 12 May 2026 10:30:06 -0000":                              "2026-05-12T10:30:06-00:00",
		"Tue, 12 May 2026 10:30:06 +0200 (W. Europe Daylight Time)":    "2026-05-12T10:30:06+02:00",
		"Tue, 12 May 2026 10:30:06 +0000 (Coordinated Universal Time)": "2026-05-12T10:30:06+00:00",
	} {
		st, defects, ok := ParseDate(in)
		if got := st.RFC3339(); !ok || got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if (st.Zone == NoZone) != (defects&DateWithoutZone != 0) {
			t.Errorf("%q: zone %d, defects %v", in, st.Zone, defects.List())
		}
	}
}

func TestAmericanSummer(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Skip(err)
	}
	for day := time.Date(2019, 1, 1, 12, 0, 0, 0, zone); day.Year() < 2031; day = day.AddDate(0, 0, 1) {
		if got := americanSummer(day.Year(), int(day.Month()), day.Day()); got != day.IsDST() {
			t.Fatalf("%s: %v", day, got)
		}
	}
}
