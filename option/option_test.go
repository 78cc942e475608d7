package option_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/option"
)

// house is something that has options of every kind.
type house struct {
	Name  string `key:"name" flag:"name" word:"NAME" default:"home" usage:"what it is called"`
	Paint paint  `key:"paint" usage:"how it looks"`
	Rooms []room `key:"rooms" min:"1" usage:"its rooms"`
}

type paint struct {
	Color string `key:"color" flag:"paint" word:"COLOR" default:"white" oneof:"white,red,blue" usage:"white, red or blue"`
	Plan  string `key:"plan" flag:"plan" word:"FILE" file:"none" default:"none" usage:"a drawing, or none"`
}

type room struct {
	Open    bool          `key:"open" flag:"open" usage:"without a door"`
	Beds    int           `key:"beds" flag:"beds" word:"N" default:"1" usage:"how many"`
	Heating time.Duration `key:"heating" flag:"heating" default:"1h" usage:"how long"`
	Airing  time.Duration `key:"airing" flag:"airing" default:"0s" min:"0s" usage:"how long"`
	Shelf   option.Size   `key:"shelf" flag:"shelf" word:"SIZE" default:"1KiB" min:"1B" max:"1MiB" usage:"for books"`
	Doors   option.Ports  `key:"doors" flag:"doors" word:"LIST" default:"1,2" usage:"their numbers"`
	Plants  []string      `key:"plants" flag:"plants" word:"NAME" usage:"which"`
	Guests  []guest       `key:"guests" brief:"true" usage:"who comes in"`
	Works   []work        `key:"works" brief:"true" usage:"what is done to it"`
	Photos  []string      `key:"photos" flag:"photos" word:"FILE" file:"none" usage:"pictures of it, or none"`
}

// work has sections that may be missing, alone or beside each other, down to lists in
// lists.
type work struct {
	Name  string `key:"name" place:"true" usage:"what it is called"`
	Walls *walls `key:"walls" usage:"of the walls"`
	Floor *floor `key:"floor" usage:"of the floor"`
}

type walls struct {
	Coats []coat      `key:"coats" min:"1" usage:"of paint"`
	Tiles []string    `key:"tiles" min:"1" usage:"which"`
	Thick option.Size `key:"thick" min:"1B" max:"1KiB" example:"2B" usage:"if it matters"`
}

type coat struct {
	Color string `key:"color" min:"1" usage:"of it"`
	Gloss bool   `key:"gloss" usage:"shining"`
	Plan  string `key:"plan" file:"" min:"1" usage:"of a picture"`
}

type floor struct {
	Wood  string `key:"wood" default:"oak" min:"1" usage:"which"`
	Layer int    `key:"layer" default:"3" usage:"how many"`
}

type guest struct {
	Name string  `key:"name" place:"true" usage:"how they are called"`
	Let  *traits `key:"let" flag:"let" word:"TRAITS" example:"hat=black" usage:"who is let in"`
	Send *traits `key:"send" flag:"send" word:"TRAITS" example:"hat=black" usage:"who is sent away"`
	Call bool    `key:"call" usage:"by telephone first"`
}

type traits struct {
	Hat   []string `key:"hat" min:"1" file:"@" usage:"color of a hat"`
	Shoes []string `key:"shoes" min:"1" file:"@" usage:"color of shoes"`
}

var form = option.Form{NotYet: " garden ", Synonyms: " colour=color cap=hat dress=hat,shoes "}

// built is a house with one room, by default.
func built() *house {
	h := &house{Rooms: make([]room, 1)}
	option.Preset(h)
	return h
}

func TestDefaults(t *testing.T) {
	want := &house{Name: "home", Paint: paint{Color: "white", Plan: "none"}, Rooms: []room{{Beds: 1, Heating: time.Hour, Shelf: 1024, Doors: option.Ports{1, 2}}}}
	if got := built(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for _, text := range []string{"rooms: [{}]", "rooms:\n-\npaint:\n", "rooms: [{guests: []}]", "rooms: [~]"} {
		got := built()
		if err := option.Read("v.yaml", []byte(text), got, form); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	got := built()
	if err := option.FromFlags(nil, got, form); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

const full = `
name: villa
paint: {color: red, plan: a/plan.txt}
rooms:
- open: true
  beds: 2
  heating: 1h30m
  airing: 5s
  shelf: 2KiB
  doors: [7, 3]
  plants: [fern, '1']
  guests:
  - let: {hat: [red, "@hats.txt"], shoes: brown}
    call: true
  - {name: others, send: {}}
- {doors: any}
`

func villa() *house {
	h := built()
	h.Name, h.Paint = "villa", paint{Color: "red", Plan: "/etc/a/plan.txt"}
	h.Rooms = append(h.Rooms, h.Rooms[0])
	h.Rooms[0] = room{
		Open: true, Beds: 2, Heating: 90 * time.Minute, Airing: 5 * time.Second, Shelf: 2048, Doors: option.Ports{3, 7}, Plants: []string{"fern", "1"},
		Guests: []guest{
			{Name: "rooms[0].guests[0]", Let: &traits{Hat: []string{"red", "@/etc/hats.txt"}, Shoes: []string{"brown"}}, Call: true},
			{Name: "others", Send: &traits{}},
		},
	}
	h.Rooms[1].Doors = nil
	return h
}

func TestRead(t *testing.T) {
	got := built()
	if err := option.Read("/etc/v.yaml", []byte(full), got, form); err != nil || !reflect.DeepEqual(got, villa()) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, villa())
	}
	var text strings.Builder
	if err := option.Print(&text, got, form); err != nil {
		t.Fatal(err)
	}
	again := built()
	if err := option.Read("elsewhere.yaml", []byte(text.String()), again, form); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("%v: it does not read back:\n%s", err, text.String())
	}
	if want := "  guests:\n  - let:\n      hat: [red, '@/etc/hats.txt']\n      shoes: [brown]\n    call: true\n  - name: others\n    send: {}\n"; !strings.Contains(text.String(), want) {
		t.Errorf("it prints\n%s\nwant\n%s", text.String(), want)
	}
}

// Sections in lists in sections in lists are read, printed and described, and what is
// wrong with one is told where it stands.
func TestNesting(t *testing.T) {
	const text = `
rooms:
- photos: [a.jpg, none, "@b", /c]
  works:
  - walls: {coats: [{color: red, plan: p}, {color: blue, gloss: true}], tiles: old, thick: 5B}
    floor: {}
  - {name: second, floor: {wood: pine, layer: 1}}
  - walls: {}
`
	got, want := built(), built()
	want.Rooms[0].Photos = []string{"/etc/a.jpg", "none", "/etc/@b", "/c"}
	want.Rooms[0].Works = []work{
		{Name: "rooms[0].works[0]", Walls: &walls{Coats: []coat{{Color: "red", Plan: "/etc/p"}, {Color: "blue", Gloss: true}}, Tiles: []string{"old"}, Thick: 5}, Floor: &floor{"oak", 3}},
		{Name: "second", Floor: &floor{"pine", 1}},
		{Name: "rooms[0].works[2]", Walls: &walls{}},
	}
	if err := option.Read("/etc/v.yaml", []byte(text), got, form); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got.Rooms[0], want.Rooms[0])
	}
	var printed strings.Builder
	if err := option.Print(&printed, got, form); err != nil {
		t.Fatal(err)
	}
	again := built()
	if err := option.Read("elsewhere.yaml", []byte(printed.String()), again, form); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("%v: it does not read back:\n%s", err, printed.String())
	}
	for text, want := range map[string]string{
		"walls:":                          "v.yaml:1:19: rooms[0].works[0].walls: nothing stands here: write keys and their values, such as coats: …",
		"walls: {coats: [{colour: red}]}": `v.yaml:1:36: unknown key "colour" in rooms[0].works[0].walls.coats[0]: did you mean "color"?`,
		"walls: {coats: [{color: ''}]}":   "v.yaml:1:43: rooms[0].works[0].walls.coats[0].color: is empty: write something, or leave it out",
		"walls: {coats: {color: a}}":      `v.yaml:1:27: rooms[0].works[0].walls.coats: a section stands here: write a list, with "- " before the first key of each entry`,
		"walls: {tiles: [{a: b}, c: d]}":  "v.yaml:1:35: rooms[0].works[0].walls.tiles[0]: a section stands here: write one value, in quotes where \": \" is in it\nv.yaml:1:43: rooms[0].works[0].walls.tiles[1]: a section stands here: write one value, in quotes where \": \" is in it",
		"walls: {tiles: []}":              "v.yaml:1:27: rooms[0].works[0].walls.tiles: no value: write at least one, or take tiles out",
		"walls: {thick: 0B}":              `v.yaml:1:34: rooms[0].works[0].walls.thick: "0B": write a size from 1B to 1KiB with its unit, such as 2B`,
		"floor: {wood: [], layer: -1}":    "v.yaml:1:33: rooms[0].works[0].floor.wood: a list stands here: write one value, such as oak\nv.yaml:1:44: rooms[0].works[0].floor.layer: \"-1\": write a number from 0 to 2147483647",
		"gloss: true":                     `v.yaml:1:19: unknown key "gloss" in rooms[0].works[0]: it belongs under rooms[].works[].walls.coats[]`,
	} {
		if got := told(t, option.Read("v.yaml", []byte("rooms: [{works: [{"+text+"}]}]"), built(), form)); got != want {
			t.Errorf("%s\nsays %s\nwant %s", text, got, want)
		}
	}
	schema := string(option.Schema(house{}, "a house"))
	if strings.Count(schema, `"oneOf"`) != 1 || !strings.Contains(schema, `"default": "oak"`) {
		t.Errorf("%s", schema)
	}
}

// Sections without a flag are for a file, also when something is given without a name.
func TestNestingHasNoFlags(t *testing.T) {
	got := built()
	if err := option.FromFlags(map[string]option.Given{"": {Values: []string{"all"}}, "photos": {Values: []string{"@a, b"}}}, got, form); err != nil || got.Rooms[0].Works != nil || !slices.Equal(got.Rooms[0].Photos, []string{"@a", "b"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "v.yaml")
	if err := option.Load(file, built(), form); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("rooms: [{}]\npaint: {plan: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := built()
	if err := option.Load(file, h, form); err != nil || h.Paint.Plan != filepath.Join(filepath.Dir(file), "x") {
		t.Errorf("%+v, %v", h, err)
	}
}

// told are the problems of an error, a line each.
func told(t *testing.T, err error) string {
	t.Helper()
	var all option.Problems
	if err != nil && !errors.As(err, &all) {
		t.Fatalf("%v", err)
	}
	return fmt.Sprint(err)
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"rooms: []":            "<nil>", // that is for the form to judge
		"room: [{}]":           `v.yaml:1:1: unknown key "room" at the top level: did you mean "rooms"?`,
		"garden: {}":           `v.yaml:1:1: unknown key "garden" at the top level: it is not served by this version, take it out`,
		"beds: 1":              `v.yaml:1:1: unknown key "beds" at the top level: it belongs under rooms[]`,
		"paint: {colour: red}": `v.yaml:1:9: unknown key "colour" in paint: did you mean "color"?`,
		"rooms: [{hat: red}]":  `v.yaml:1:10: unknown key "hat" in rooms[0]: it belongs under rooms[].guests[].let, or under rooms[].guests[].send`,
		"rooms: [{guests: [{let: {dress: red}}]}]": `v.yaml:1:26: unknown key "dress" in rooms[0].guests[0].let: did you mean "hat" or "shoes"?`,
		"rooms: [{guests: [{let: }]}]":             "v.yaml:1:20: rooms[0].guests[0].let: nothing stands here: write {} for everything",
		"rooms: [{guests: [{let: {hat: []}}]}]":    "v.yaml:1:26: rooms[0].guests[0].let.hat: no value: write at least one, or take hat out",
		"rooms: [{guests: {let: {}}}]":             `v.yaml:1:10: rooms[0].guests: a section stands here: write a list, with "- " before the first key of each entry`,
		"rooms: [{heating: 0s, airing: 0s}]":       `v.yaml:1:19: rooms[0].heating: "0s": every wait is bounded; give a time above zero, such as 1h`,
		"rooms: [{shelf: 2MiB, beds: -1}]":         "v.yaml:1:17: rooms[0].shelf: \"2MiB\": write a size from 1B to 1MiB with its unit, such as 1KiB\nv.yaml:1:29: rooms[0].beds: \"-1\": write a number from 0 to 2147483647",
		"paint: {color: green, plan: [a]}":         "v.yaml:1:16: paint.color: \"green\": choose white, red or blue\nv.yaml:1:29: paint.plan: a list stands here: write one value, such as none",
		"rooms: [{doors: [x]}]":                    `v.yaml:1:18: rooms[0].doors[0]: "x" is no port; write numbers from 1 to 65535 with commas between them, or any alone`,
		"rooms: *x":                                "v.yaml:1:8: not valid YAML: unknown anchor 'x' referenced",
	} {
		if got := told(t, option.Read("v.yaml", []byte(text), built(), form)); got != want {
			t.Errorf("%s\nsays %s\nwant %s", text, got, want)
		}
	}
}

func given(order []string) map[string]option.Given {
	m := map[string]option.Given{}
	for i, word := range order {
		name, value, _ := strings.Cut(word, " ")
		g := m[name]
		m[name] = option.Given{Values: append(g.Values, value), Order: append(g.Order, i)}
	}
	return m
}

func TestFlags(t *testing.T) {
	var names []string
	for _, f := range option.Flags(house{}) {
		names = append(names, f.Name)
		if repeat := f.Name == "doors" || f.Name == "plants" || f.Name == "let" || f.Name == "send" || f.Name == "photos"; f.Repeat != repeat || f.Env() != "VIADUCT_"+strings.ToUpper(f.Name) {
			t.Errorf("%+v", f)
		}
	}
	if got := strings.Join(names, " "); got != "open beds heating airing shelf doors plants let send photos name paint plan" {
		t.Error(got)
	}
	got, want := built(), built()
	want.Name, want.Paint = "a b", paint{Color: "blue", Plan: "p"}
	want.Rooms[0].Open, want.Rooms[0].Plants, want.Rooms[0].Doors = true, []string{"fern", "moss", "ivy"}, nil
	want.Rooms[0].Guests = []guest{
		{Name: "send#1", Send: &traits{Hat: []string{"red", "@f"}}},
		{Name: "let#1", Let: &traits{Shoes: []string{"blue"}, Hat: []string{"blue"}}},
		{Name: "send#2", Send: &traits{Hat: []string{"green"}}},
		{Name: "let#2", Let: &traits{}},
	}
	err := option.FromFlags(given([]string{
		"send hat=red,@f", "open 1", "plants fern, moss", "let shoes=blue  hat=blue", "name a b", "paint red", "paint blue", "plan p", "send hat=green", "plants ivy", "let all", "doors any",
	}), got, form)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}

func TestMistakesOfFlags(t *testing.T) {
	for word, want := range map[string]string{
		"heating 5":         "--heating 5: a time needs its unit: write 5s",
		"open perhaps":      "--open perhaps: write true or false",
		"let hat=":          "<nil>", // that is for the form to judge
		"let black":         `--let black: "black" is no term: write field=value, such as hat=black; what has a space or a comma in it is for a file (viaduct run -c FILE)`,
		"let cap=black":     `--let cap=black: unknown term "cap": did you mean "hat"?`,
		"let call=true":     "--let call=true: call is for a rule in a file (viaduct run -c FILE): take it out",
		"let hat=a hat=b":   `--let "hat=a hat=b": hat stands twice: write it once, with commas between the values`,
		`send hat="a"`:      `--send "hat=\"a\"": quotes are not taken off here: write hat=a; what has a space or a comma in it is for a file (viaduct run -c FILE)`,
		"send all shoes=no": `--send "all shoes=no": all stands alone: take it out, or the other terms`,
	} {
		if got := told(t, option.FromFlags(given([]string{word}), built(), form)); got != want {
			t.Errorf("%s\nsays %s\nwant %s", word, got, want)
		}
	}
}

// A form judges what was read, and no more than that.
func TestForm(t *testing.T) {
	judge := option.Form{Check: func(r *option.Report) {
		for _, path := range []string{"name", "paint.color", "rooms[0]", "rooms[0].beds", "rooms[0].guests[0].let.hat[0]"} {
			r.Say(path, "x", r.Option("flag", "key")+" of "+r.Name(path))
		}
	}}
	const all = `name: "x": key of name|paint.color: "x": key of paint.color|rooms[0]: "x": key of rooms[0]|rooms[0].beds: "x": key of rooms[0].beds|rooms[0].guests[0].let.hat[0]: "x": key of rooms[0].guests[0].let.hat[0]`
	if got := strings.ReplaceAll(told(t, option.Check(built(), judge)), "\n", "|"); got != all {
		t.Error(got)
	}
	want := `v.yaml:1:1: name: "x": key of name|v.yaml:1:1: paint.color: "x": key of paint.color|v.yaml:1:9: rooms[0]: "x": key of rooms[0]|` +
		`v.yaml:1:16: rooms[0].beds: "many": write a whole number|v.yaml:1:44: rooms[0].guests[0].let.hat[0]: "x": key of rooms[0].guests[0].let.hat[0]`
	if got := strings.ReplaceAll(told(t, option.Read("v.yaml", []byte("rooms: [{beds: many, guests: [{let: {hat: [red]}}]}]"), built(), judge)), "\n", "|"); got != want {
		t.Error(got)
	}
	want = `--name a: --flag of --name a|--paint: --flag of --paint|rooms[0]: --flag of rooms[0]|--beds: --flag of --beds|--let hat=red: hat=red: --flag of --let hat=red: hat=red`
	if got := strings.ReplaceAll(told(t, option.FromFlags(given([]string{"name a", "let hat=red"}), built(), judge)), "\n", "|"); got != want {
		t.Error(got)
	}
}

// What was written, and what could not be read, is known to the form.
func TestFormKnowsWhatWasWritten(t *testing.T) {
	ask := func(of func(r *option.Report, path string) bool, paths ...string) (option.Form, *[]bool) {
		var answers []bool
		return option.Form{Check: func(r *option.Report) {
			for _, path := range paths {
				answers = append(answers, of(r, path))
			}
		}}, &answers
	}
	text := []byte("name: [x]\nrooms: [{beds: 2, guests: [{let: {hats: a}, send: }]}]")
	for name, c := range map[string]struct {
		of    func(r *option.Report, path string) bool
		paths []string
		want  []bool
	}{
		"implied": {(*option.Report).Implied, []string{"name", "paint", "rooms[0].beds", "rooms[0].doors"}, []bool{false, true, false, true}},
		"unread":  {(*option.Report).Unread, []string{"name", "paint", "rooms[0].guests[0].let", "rooms[0].guests[0].send.hat"}, []bool{true, false, false, true}},
		"strange": {(*option.Report).Strange, []string{"", "rooms[0].guests[0].let", "rooms[0].guests[0].send"}, []bool{false, true, false}},
	} {
		form, got := ask(c.of, c.paths...)
		_ = option.Read("v.yaml", text, built(), form)
		if !slices.Equal(*got, c.want) {
			t.Errorf("%s: %v", name, *got)
		}
	}
	hide := option.Form{Check: func(r *option.Report) {
		r.Hide("name", "name")
		r.Say("name", "", "is secret")
	}}
	if got := told(t, option.FromFlags(given([]string{"name xyz"}), built(), hide)); got != "--name: is secret" {
		t.Error(got)
	}
}

func TestSchema(t *testing.T) {
	text := string(option.Schema(house{}, "a house", "rooms"))
	for _, part := range []string{
		`"title": "a house"`, "\"required\": [\n    \"rooms\"\n  ]", "\"oneOf\": [\n                {\n                  \"required\": [\n                    \"let\"\n", `"description": "color of shoes"`, `"default": "1h"`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s in\n%s", part, text)
		}
	}
}

func TestNearest(t *testing.T) {
	for s, want := range map[string]string{"hatt": "hat", "ht": "hat", "shoe": "shoes", "sheos": "shoes", "x": "", "": "", "overcoats": ""} {
		if got := option.Nearest(s, []string{"hat", "shoes"}); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// FuzzLine: whatever stands in a line is read, and once again to the same, or refused
// in words that harm no terminal.
func FuzzLine(f *testing.F) {
	for _, line := range []string{"all", "", "hat=red,@f shoes=blue", "hat=a hat=b", "all all", "hats=a", "hat='a'", "hat=\x1b", "=", ",", "hat=\u00a0b"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		h := built()
		err := option.FromFlags(given([]string{"let hat=a", "send " + line}), h, form)
		if err != nil {
			if strings.ContainsAny(strings.ReplaceAll(err.Error(), "\n--", ""), "\n\r\x00\x1b") {
				t.Errorf("%q", err)
			}
			return
		}
		said := "all"
		for key, values := range map[string][]string{"hat": h.Rooms[0].Guests[1].Send.Hat, "shoes": h.Rooms[0].Guests[1].Send.Shoes} {
			if values != nil {
				said = strings.TrimPrefix(said+" ", "all ") + key + "=" + strings.Join(values, ",")
			}
		}
		again := built()
		if err := option.FromFlags(given([]string{"let hat=a", "send " + said}), again, form); err != nil || !reflect.DeepEqual(again, h) {
			t.Errorf("%q and %q: %v", line, said, err)
		}
	})
}
