package option_test

import (
	"reflect"
	"strings"
	"testing"

	"viaduct/option"
)

// zoo has entries with names, numbers with fractions, texts that are not shown, and
// options of a section that stand beside others.
type zoo struct {
	Gate  gate   `key:"gate" usage:"where one goes in"`
	Pens  []pen  `key:"pens" named:"animal" usage:"who lives where"`
	Tours []tour `key:"tours" brief:"true" usage:"what is shown"`
}

type gate struct {
	Code string `key:"code" flag:"code" word:"CODE" secret:"true" usage:"what opens it"`
}

type pen struct {
	Name    string
	Animals []string `key:"animals" flag:"animal" word:"NAME" min:"1" secret:"true" usage:"who lives there"`
	Share   float64  `key:"share" flag:"share" word:"SHARE" default:"20%" min:"0%" max:"100%" usage:"of the area"`
	Height  float64  `key:"height" flag:"height" word:"N" default:"0" min:"0" max:"9.5" example:"1.25" usage:"of the fence"`
	Food    food     `key:"food" usage:"what they get"`
}

type food struct {
	Meals int `key:"meals" flag:"meals" word:"N" default:"2" min:"1" max:"9" usage:"a day"`
}

type tour struct {
	Name string `key:"name" place:"true" usage:"what it is called"`
	traits
	Guide string `key:"guide" min:"1" usage:"who leads"`
}

var keeper = option.Form{Hide: func(text string) string { return strings.Repeat("*", len(text)) }}

func TestNamedEntries(t *testing.T) {
	const text = `
gate: {code: "1234"}
pens:
  lions: &l {animals: [leo, "7"], share: 0.07, height: 1.25, food: {meals: 1}}
  2-b_: {animals: ape, share: 33.3%, height: 125%}
  empty:
  again: *l
tours: [{hat: "@hats", shoes: red, guide: ann}, {name: x, guide: bob}]
`
	got := &zoo{}
	want := &zoo{
		Gate: gate{"1234"},
		Pens: []pen{
			{"lions", []string{"leo", "7"}, 0.07, 1.25, food{1}},
			{"2-b_", []string{"ape"}, 0.333, 1.25, food{2}},
			{"empty", nil, 0.2, 0, food{2}},
			{"again", []string{"leo", "7"}, 0.07, 1.25, food{1}},
		},
		Tours: []tour{{"tours[0]", traits{Hat: []string{"@/etc/hats"}, Shoes: []string{"red"}}, "ann"}, {Name: "x", Guide: "bob"}},
	}
	if err := option.Read("/etc/v.yaml", []byte(text), got, keeper); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	for _, form := range []option.Form{{Hide: strings.Clone}, keeper, {}} {
		var printed strings.Builder
		if err := option.Print(&printed, got, form); err != nil {
			t.Fatal(err)
		}
		if form.Hide == nil || form.Hide("x") == "*" {
			if strings.Contains(printed.String(), "leo") || strings.Contains(printed.String(), "1234") || !strings.Contains(printed.String(), "animals: ['***', '*") || !strings.Contains(printed.String(), "share: 33.3%\n    height: 1.25\n") {
				t.Errorf("it shows\n%s", printed.String())
			}
			continue
		}
		again := &zoo{}
		if err := option.Read("elsewhere.yaml", []byte(printed.String()), again, form); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%v: it does not read back:\n%s", err, printed.String())
		}
	}
	for _, text := range []string{"", "pens:", "pens: {}", "pens: ~"} {
		got := &zoo{}
		if err := option.Read("v.yaml", []byte(text), got, keeper); err != nil || !reflect.DeepEqual(got, &zoo{}) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestMistakesOfNamedEntries(t *testing.T) {
	for text, want := range map[string]string{
		"pens: [{animals: x}]":                 "v.yaml:1:1: pens: a list stands here: write a name for each entry, such as first: {animals: …}",
		"pens: x":                              `v.yaml:1:1: pens: "x" stands here: write a name for each entry, such as first: {animals: …}`,
		"pens: {A: {}}":                        "v.yaml:1:8: a name in pens has small letters, digits, - and _, and at most 64 of them",
		"pens: {a: {}, a: {}}":                 `v.yaml:1:15: duplicate name "a" in pens: it stands in line 1 already`,
		"pens: {a: {aminals: b}}":              `v.yaml:1:12: unknown key "aminals" in pens.a: did you mean "animals"?`,
		"pens: {a: {Name: b}}":                 `v.yaml:1:12: unknown key "Name" in pens.a: it belongs under tours[]`,
		"pens: {a: {animals: []}}":             "v.yaml:1:12: pens.a.animals: no value: write at least one, or take animals out",
		"meals: 1":                             `v.yaml:1:1: unknown key "meals" at the top level: it belongs under pens.NAME.food`,
		"pens: {a: {food: {meals: 0}}}":        `v.yaml:1:26: pens.a.food.meals: "0": write a whole number from 1 to 9, such as 2`,
		"pens: {a: {share: 101%, height: 10}}": "v.yaml:1:19: pens.a.share: \"101%\": write a number from 0% to 100%, such as 20%\nv.yaml:1:33: pens.a.height: \"10\": write a number from 0 to 9.5, such as 1.25",
		"pens: {a: {share: -1, height: 1e0}}":  "v.yaml:1:19: pens.a.share: \"-1\": write a number from 0% to 100%, such as 20%\nv.yaml:1:31: pens.a.height: \"1e0\": write a number from 0 to 9.5, such as 1.25",
		"tours: [{hat: [], guide: ''}]":        "v.yaml:1:10: tours[0].hat: no value: write at least one, or take hat out\nv.yaml:1:26: tours[0].guide: is empty: write something, or leave it out",
		"tours: [{traits: {}}]":                `v.yaml:1:10: unknown key "traits" in tours[0]: write one of name, hat, shoes, guide`,
		"pens: 'http://a:b@c'":                 `v.yaml:1:1: pens: "http://***@c" stands here: write a name for each entry, such as first: {animals: …}`,
	} {
		if got := told(t, option.Read("v.yaml", []byte(text), &zoo{}, keeper)); got != want {
			t.Errorf("%s\nsays %s\nwant %s", text, got, want)
		}
	}
}

// Flags make one entry, if that is given which makes it.
func TestFlagsOfNamedEntries(t *testing.T) {
	var names []string
	for _, f := range option.Flags(zoo{}) {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "animal share height meals code" {
		t.Error(got)
	}
	got := &zoo{}
	if err := option.FromFlags(given([]string{"animal leo,ape", "share 7%", "animal cat", "meals 3", "code 1"}), got, keeper); err != nil || !reflect.DeepEqual(got, &zoo{Gate: gate{"1"}, Pens: []pen{{"animal", []string{"leo", "ape", "cat"}, 0.07, 0, food{3}}}}) {
		t.Errorf("%+v, %v", got, err)
	}
	got = &zoo{}
	if err := option.FromFlags(given([]string{"share 20%", "meals 2"}), got, keeper); err != nil || got.Pens != nil {
		t.Errorf("%+v, %v", got, err)
	}
	judge := option.Form{Check: func(r *option.Report) {
		r.Say("gate.code", "", "is known")
		r.Say("pens.animal.animals[1]", "", "is old")
	}, Hide: keeper.Hide}
	for words, want := range map[string]string{
		"share 7%|meals x":                 "--share 7%: does nothing without --animal: add that, or take this out\n--meals x: does nothing without --animal: add that, or take this out\n--code: is known\npens.animal.animals[1]: is old",
		"animal leo,apes|code 12|height x": "--height x: write a number from 0 to 9.5, such as 1.25\n--code **: is known\n--animal ****: is old",
	} {
		if got := told(t, option.FromFlags(given(strings.Split(words, "|")), &zoo{}, judge)); got != want {
			t.Errorf("%s\nsays %s\nwant %s", words, got, want)
		}
	}
}

func TestSchemaOfNamedEntries(t *testing.T) {
	text := strings.Join(strings.Fields(string(option.Schema(zoo{}, "a zoo"))), " ")
	for _, part := range []string{
		`"patternProperties": { "^[a-z0-9_-]{1,64}$": { "additionalProperties": false, "properties": { "animals": `, `"default": "20%", "description": "of the area", "minimum": 0, "pattern": `, `"default": 0, "description": "of the fence"`,
		`"properties": { "guide": { "description": "who leads", "minLength": 1, "type": "string" }, "hat": `,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s in\n%s", part, text)
		}
	}
}
