package relay

import (
	"fmt"
	"testing"

	"hoplite/mail"
)

// outcomesOf returns outcomes with the given reply codes.
func outcomesOf(codes ...int) []mail.Outcome {
	var out []mail.Outcome
	for i, code := range codes {
		out = append(out, mail.Outcome{Hop: "boxes", Reply: mail.Reply{Code: code, Enhanced: fmt.Sprintf("%d.9.%d", code/100, i), Text: fmt.Sprint("reply ", i)}})
	}
	return out
}

func TestFoldOutcomes(t *testing.T) {
	for name, tt := range map[string]struct {
		codes []int
		want  string
	}{
		"none":                         {nil, "250 2.0.0 Accepted"},
		"one, its own text":            {[]int{250}, "250 2.9.0 reply 0"},
		"several":                      {[]int{250, 251}, "250 2.0.0 Accepted for 2 recipients"},
		"temporary decides":            {[]int{250, 550, 451}, "451 4.9.2 reply 2"},
		"permanent before good":        {[]int{250, 550}, "550 5.9.1 reply 1"},
		"the first of a kind":          {[]int{452, 451}, "452 4.9.0 reply 0"},
		"421 is about another session": {[]int{421}, "451 4.9.0 reply 0"},
		"a code out of range":          {[]int{999}, "451 4.3.0 reply 0"},
		"a code below it":              {[]int{0}, "451 4.3.0 reply 0"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fold(outcomesOf(tt.codes...)).String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	r := passedOn(&mail.Outcome{Hop: "boxes", Reply: mail.Reply{Code: 550, Text: " \n"}})
	if r.Enhanced != "5.0.0" || r.Text != "reply without text from boxes" {
		t.Errorf("%+v", r)
	}
}

func TestRepliesOfLMTP(t *testing.T) {
	codes := func(list []*mail.Reply) (all []int) {
		for _, r := range list {
			all = append(all, r.Code)
		}
		return all
	}
	for name, tt := range map[string]struct {
		res   results
		rcpts int
		asked [][]int
		want  []int
	}{
		"one each":                    {results{outcomes: outcomesOf(250, 452)}, 2, [][]int{{0}, {1}}, []int{250, 452}},
		"a list and a member":         {results{outcomes: outcomesOf(250, 550)}, 3, [][]int{{0, 1}, {0}, {1}}, []int{550, 250, 550}},
		"refused as a whole":          {results{all: mail.NewReply(554, "5.7.1", "no")}, 2, [][]int{{0}, {1}}, []int{554, 554}},
		"recipients changed":          {results{outcomes: outcomesOf(452)}, 3, nil, []int{452, 452, 452}},
		"nobody was asked":            {results{all: accepted}, 0, nil, []int{250}},
		"an address without its own":  {results{outcomes: outcomesOf(250)}, 1, [][]int{{}}, []int{250}},
		"all along the same redirect": {results{outcomes: outcomesOf(250)}, 2, everyone(2, 1), []int{250, 250}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := codes(tt.res.replies(tt.rcpts, tt.asked)); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestLeftBehind(t *testing.T) {
	for name, tt := range map[string]struct {
		codes         []int
		groups        [][]int
		later, failed []int
	}{
		"all good":                {[]int{250, 250}, everyone(1, 2), nil, nil},
		"all failed":              {[]int{550, 451}, everyone(1, 2), nil, nil},
		"one of each":             {[]int{250, 451, 550}, everyone(1, 3), []int{1}, []int{2}},
		"groups do not mix":       {[]int{250, 451, 550}, [][]int{{0}, {1}, {2}}, nil, nil},
		"only the mixed group":    {[]int{250, 451, 451}, [][]int{{0, 1}, {2}}, []int{1}, nil},
		"a shared recipient":      {[]int{250, 451, 550, 250}, [][]int{{0, 1, 2}, {3, 2, 1}}, []int{1}, []int{2}},
		"no recipients, no group": {nil, [][]int{{}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			later, failed := leftBehind(outcomesOf(tt.codes...), tt.groups)
			if fmt.Sprint(later) != fmt.Sprint(tt.later) || fmt.Sprint(failed) != fmt.Sprint(tt.failed) {
				t.Errorf("later %v, failed %v, want %v and %v", later, failed, tt.later, tt.failed)
			}
		})
	}
}
