package basicauth

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestPublished(t *testing.T) { plugintest.ComparePublished(t, name) }

func TestSchema(t *testing.T) {
	_, message, _ := plugintest.Insert(t, name, `{"consumer":{"id":"6f4a486c-ec63-4144-afa9-2080b7e67c62"}}`)
	if want := "schema violation (consumer: value must be null)"; message != want {
		t.Errorf("message %q, want %q", message, want)
	}
	stored, _, _ := plugintest.Insert(t, name, `{}`)
	want := map[string]any{"anonymous": nil, "hide_credentials": false, "realm": "service"}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("basic-auth")
	if !ok || d.Priority != 1100 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	if _, err := New(nil, &plugin.Instance{Config: map[string]any{"realm": 1}}); err == nil {
		t.Error("a config of the wrong type was taken")
	}
}

// directory knows bob, whose password is "s3c:ret", and the credentials of a
// consumer that is gone.
func directory() *plugintest.Directory {
	d := plugintest.NewDirectory()
	d.AddConsumer(&fsm.Consumer{ID: "c1", Username: "bob", CustomID: "b-7"})
	d.AddConsumer(&fsm.Consumer{ID: "c9", Username: "guest"})
	for _, b := range []*fsm.BasicAuth{
		{ID: "id1", Consumer: fsm.Ref{ID: "c1"}, Username: "bob", Password: entities.PasswordHash("s3c:ret", "c1")},
		{ID: "id2", Consumer: fsm.Ref{ID: "c1"}, Username: "empty", Password: entities.PasswordHash("", "c1")},
		{ID: "id3", Consumer: fsm.Ref{ID: "gone"}, Username: "orphan", Password: entities.PasswordHash("x", "gone")},
		{ID: "id4", Consumer: fsm.Ref{ID: "c1"}, Username: "broken", Password: "no hash"},
	} {
		d.AddBasic(b)
	}
	return d
}

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

func access(t testing.TB, config string, ex *plugin.Exchange) plugin.Verdict {
	t.Helper()
	ex.Directory = directory()
	return plugintest.Instance(t, plugintest.Env(nil), name, config).(plugin.Accessor).Access(ex)
}

func TestAccess(t *testing.T) {
	const auth, proxy = "Authorization", "Proxy-Authorization"
	bob := base64.StdEncoding.EncodeToString([]byte("bob:s3c:ret"))
	tests := map[string]struct {
		fields []string
		want   bool
	}{
		"nothing":                        {nil, false},
		"right":                          {[]string{auth, basic("bob:s3c:ret")}, true},
		"right, in the proxy's field":    {[]string{proxy, basic("bob:s3c:ret")}, true},
		"proxy's field first":            {[]string{auth, basic("bob:no"), proxy, basic("bob:s3c:ret")}, true},
		"a known user there decides":     {[]string{auth, basic("bob:s3c:ret"), proxy, basic("bob:no")}, false},
		"an unknown one does not":        {[]string{auth, basic("bob:s3c:ret"), proxy, basic("eve:no")}, true},
		"nonsense there does not":        {[]string{auth, basic("bob:s3c:ret"), proxy, "Digest x"}, true},
		"wrong password":                 {[]string{auth, basic("bob:s3c:re")}, false},
		"no password":                    {[]string{auth, basic("bob:")}, false},
		"password that is empty":         {[]string{auth, basic("empty:")}, true},
		"unknown user":                   {[]string{auth, basic("eve:s3c:ret")}, false},
		"user's case":                    {[]string{auth, basic("Bob:s3c:ret")}, false},
		"nobody's hash":                  {[]string{auth, basic("nobody:" + nobody.Password)}, false},
		"consumer is gone":               {[]string{auth, basic("orphan:x")}, false},
		"stored password is no hash":     {[]string{auth, basic("broken:no hash")}, false},
		"no colon":                       {[]string{auth, basic("bob")}, false},
		"no user":                        {[]string{auth, basic(":s3c:ret")}, false},
		"lower case":                     {[]string{auth, "basic " + bob}, true},
		"upper case, which Kong refuses": {[]string{auth, "BASIC " + bob}, false},
		"no space":                       {[]string{auth, "Basic" + bob}, true},
		"spaces and a tab":               {[]string{auth, "Basic  \t " + bob}, true},
		"behind something":               {[]string{auth, "Bearer x, Basic " + bob}, true},
		"behind what is like it":         {[]string{auth, "classic Basic " + bob}, true},
		"no padding":                     {[]string{auth, strings.TrimRight("Basic "+bob, "=")}, true},
		"something after the padding":    {[]string{auth, "Basic " + strings.TrimRight(bob, "=") + "=, Bearer x"}, true},
		"not base64":                     {[]string{auth, "Basic b*b"}, false},
		"URL's base64":                   {[]string{auth, "Basic " + strings.NewReplacer("+", "-", "/", "_").Replace(base64.StdEncoding.EncodeToString([]byte("bob:???>>>")))}, false},
		"only the scheme":                {[]string{auth, "Basic"}, false},
		"another scheme":                 {[]string{auth, "Bearer " + bob}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange("GET", "/", test.fields...)
			verdict := access(t, `{}`, ex)
			if test.want {
				if verdict != plugin.Continue || ex.Consumer == nil || ex.Consumer.ID != "c1" {
					t.Fatalf("refused: %s", ex.Response.Body)
				}
				return
			}
			want := "{\n  \"message\":\"Unauthorized\",\n  \"request_id\":\"" + plugintest.RequestID + "\"\n}"
			if got := string(ex.Response.Body); verdict != plugin.Stop || ex.Response.Status != 401 || got != want {
				t.Errorf("verdict %v, answer %d %s, want 401 %s", verdict, ex.Response.Status, got, want)
			}
			if got := ex.Response.Header.Get("Www-Authenticate"); got != `Basic realm="service"` {
				t.Errorf("WWW-Authenticate: %s", got)
			}
			if ex.Consumer != nil || ex.Request.Header.Has("X-Consumer-Id") {
				t.Error("a refused request has a consumer")
			}
		})
	}
}

func TestAcceptedUpstream(t *testing.T) {
	for config, fields := range map[string][]string{`{}`: {basic("bob:s3c:ret")}, `{"hide_credentials":true}`: nil} {
		ex := plugintest.Exchange("GET", "/", "Authorization", basic("bob:s3c:ret"), "X-Consumer-Id", "forged", "X-Anonymous-Consumer", "true")
		if access(t, config, ex) != plugin.Continue {
			t.Fatal("refused")
		}
		want := map[string][]string{
			"Authorization": fields, "X-Consumer-Id": {"c1"}, "X-Consumer-Username": {"bob"},
			"X-Consumer-Custom-Id": {"b-7"}, "X-Credential-Identifier": {"bob"},
		}
		if fields == nil {
			delete(want, "Authorization")
		}
		if diff := cmp.Diff(want, ex.Request.Header.(*plugintest.Header).Map()); diff != "" {
			t.Errorf("%s: header upstream (-want +got):\n%s", config, diff)
		}
		if ex.Credential != (plugin.Credential{ID: "id1", Identifier: "bob"}) {
			t.Errorf("credential %v", ex.Credential)
		}
	}
}

// TestHide: what was looked into is hidden, whether it was right or not.
func TestHide(t *testing.T) {
	const config = `{"hide_credentials":true,"anonymous":"guest"}`
	tests := []struct{ proxy, auth, left string }{
		{"", basic("bob:s3c:ret"), ""},
		{"", basic("eve:x"), ""},
		{"", "Bearer x", ""},
		{basic("bob:s3c:ret"), "Bearer x", "Authorization"},
		{basic("eve:x"), "Bearer x", ""},
	}
	for _, tt := range tests {
		ex := plugintest.Exchange("GET", "/")
		if tt.proxy != "" {
			ex.Request.Header.Set("Proxy-Authorization", tt.proxy)
		}
		ex.Request.Header.Set("Authorization", tt.auth)
		if access(t, config, ex) != plugin.Continue {
			t.Fatalf("%+v: %s", tt, ex.Response.Body)
		}
		for _, field := range []string{"Proxy-Authorization", "Authorization"} {
			if ex.Request.Header.Has(field) != (field == tt.left) {
				t.Errorf("%+v: %s is there: %t", tt, field, ex.Request.Header.Has(field))
			}
		}
	}
}

func TestRealm(t *testing.T) {
	for realm, want := range map[string]string{`a b`: `Basic realm="a b"`, `a\"b\\c`: `Basic realm="a\"b\\c"`} {
		ex := plugintest.Exchange("GET", "/")
		access(t, `{"realm":"`+realm+`"}`, ex)
		if got := ex.Response.Header.Get("Www-Authenticate"); got != want {
			t.Errorf("WWW-Authenticate: %s, want %s", got, want)
		}
	}
}

func TestAnonymous(t *testing.T) {
	for _, pair := range []string{"eve:x", "bob:wrong"} {
		ex := plugintest.Exchange("GET", "/", "Authorization", basic(pair))
		if access(t, `{"anonymous":"guest"}`, ex) != plugin.Continue || ex.Consumer == nil || ex.Consumer.ID != "c9" {
			t.Errorf("%s: consumer %v, answer %s", pair, ex.Consumer, ex.Response.Body)
		}
		if ex.Request.Header.Get("X-Anonymous-Consumer") != "true" {
			t.Error("the upstream does not hear of it")
		}
	}
	ex := plugintest.Exchange("GET", "/")
	ex.Credential = plugin.Credential{ID: "of another plugin"}
	if access(t, `{"anonymous":"guest"}`, ex) != plugin.Continue || ex.Consumer != nil {
		t.Error("an accepted credential was not enough")
	}
	ex = plugintest.Exchange("GET", "/")
	if access(t, `{"anonymous":"nobody"}`, ex) != plugin.Stop || ex.Response.Status != 500 {
		t.Errorf("without the consumer: %d %s", ex.Response.Status, ex.Response.Body)
	}
	ex = plugintest.Exchange("OPTIONS", "/")
	if access(t, `{}`, ex) != plugin.Stop {
		t.Error("a preflight passes")
	}
}

// TestForgets: no password stays in memory that will be used for another request.
func TestForgets(t *testing.T) {
	p := newPair()
	for _, password := range []string{"s3c:ret", strings.Repeat("x", 1000)} {
		if !p.read(basic("bob:" + password)) {
			t.Fatal("not read")
		}
		verify(nil, p)
		data, hashed := p.data, p.hashed
		p.forget()
		if rest := string(data) + string(hashed); strings.Trim(rest, "\x00") != "" || cap(p.data) > 512 || cap(p.hashed) > 256 {
			t.Errorf("left: %q", rest)
		}
	}
}

// hit makes a function that sends the same accepted request again and again.
func hit(t testing.TB) func() {
	p := plugintest.Instance(t, plugintest.Env(nil), name, `{}`).(plugin.Accessor)
	ex := plugintest.Exchange("GET", "/a", "Authorization", basic("bob:s3c:ret"))
	ex.Directory = directory()
	return func() {
		if p.Access(ex) != plugin.Continue {
			t.Fatalf("refused: %s", ex.Response.Body)
		}
	}
}

func TestHitAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(200, hit(t)); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAccepted(b *testing.B) {
	run := hit(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

// FuzzRead compares with a reading by the words of Kong's patterns.
func FuzzRead(f *testing.F) {
	for _, value := range []string{"Basic Ym9iOnMzYzpyZXQ=", "basicYm9iOg", "Basic =", "x Basic Basic YTpi", "Basic YTpi=garbage", "Basic OmI=", "basic\t YTo6"} {
		f.Add(value)
	}
	scheme := regexp.MustCompile(`[Bb]asic[ \t]*([^ \t].*)`)
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, "\r\n") { // no value of a field has them
			return
		}
		p := newPair()
		got := ""
		if p.read(value) {
			got = p.user() + "\x00" + string(p.password())
		}
		want := ""
		if m := scheme.FindStringSubmatch(value); m != nil {
			text, _, _ := strings.Cut(m[1], "=")
			decoded, err := base64.RawStdEncoding.DecodeString(text)
			if user, password, ok := strings.Cut(string(decoded), ":"); err == nil && ok && user != "" {
				want = user + "\x00" + password
			}
		}
		if got != want {
			t.Errorf("%q is read as %q, want %q", value, got, want)
		}
	})
}
