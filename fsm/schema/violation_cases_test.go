package schema_test

import (
	"testing"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

// rejection is a body and what Kong answers: the object "fields" and the "message".
type rejection struct {
	body, fields, message string
}

func checkRejections(t *testing.T, s *schema.Schema, cases []rejection) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.body, func(t *testing.T) {
			checkRejection(t, s, object(t, c.body), c)
		})
	}
}

// checkFormRejections is checkRejections for form bodies, written as JSON of strings.
func checkFormRejections(t *testing.T, s *schema.Schema, cases []rejection) {
	t.Helper()
	for _, c := range cases {
		t.Run("form "+c.body, func(t *testing.T) {
			checkRejection(t, s, s.FromForm(object(t, c.body)), c)
		})
	}
}

func checkRejection(t *testing.T, s *schema.Schema, in map[string]any, c rejection) {
	t.Helper()
	entity, violation := s.Insert(at(someTime), in)
	if violation == nil {
		t.Fatalf("accepted as %v", entity)
	}
	if got := violation.Error(); got != c.message {
		t.Errorf("message\nwant %s\ngot  %s", c.message, got)
	}
	sameJSON(t, c.fields, violation)
}

func TestServiceViolations(t *testing.T) {
	const protocols = "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp"
	checkRejections(t, entities.Services(), []rejection{
		{`{}`, `{"host":"required field missing"}`, "schema violation (host: required field missing)"},
		{`{"name":"a b","host":"h"}`,
			`{"name":"invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"}`,
			"schema violation (name: invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~)"},
		{`{"host":"h","foo":1}`, `{"foo":"unknown field"}`, "schema violation (foo: unknown field)"},
		{`{"foo":"h"}`, `{"foo":"unknown field","host":"required field missing"}`,
			"2 schema violations (foo: unknown field; host: required field missing)"},
		{`{"host":"h","ttl":5}`, `{"ttl":"unknown field"}`, "schema violation (ttl: unknown field)"},
		{`{"host":"h","@entity":5}`, `{"@entity":"unknown field"}`, "schema violation (@entity: unknown field)"},
		{`{"host":"h","port":99999999,"retries":-1}`,
			`{"port":"value should be between 0 and 65535","retries":"value should be between 0 and 32767"}`,
			"2 schema violations (port: value should be between 0 and 65535; retries: value should be between 0 and 32767)"},
		{`{"host":"h","port":"80"}`, `{"port":"expected an integer"}`, "schema violation (port: expected an integer)"},
		{`{"host":"h","port":5.5}`, `{"port":"expected an integer"}`, "schema violation (port: expected an integer)"},
		{`{"host":"h","port":1e30}`, `{"port":"value should be between 0 and 65535"}`,
			"schema violation (port: value should be between 0 and 65535)"},
		{`{"host":"h","port":null}`, `{"port":"required field missing"}`, "schema violation (port: required field missing)"},
		{`{"host":"h","protocol":"ftp"}`, `{"protocol":"` + protocols + `"}`, "schema violation (protocol: " + protocols + ")"},
		{`{"host":"h","protocol":"tcp","path":"/x"}`,
			`{"@entity":["failed conditional validation given value of field 'protocol'"],"path":"value must be null"}`,
			"2 schema violations (failed conditional validation given value of field 'protocol'; path: value must be null)"},
		{`{"host":"h","tls_verify":false}`,
			`{"@entity":["failed conditional validation given value of field 'protocol'"],"tls_verify":"value must be null"}`,
			"2 schema violations (failed conditional validation given value of field 'protocol'; tls_verify: value must be null)"},
		{`{"host":"h","path":"nope"}`, `{"path":"should start with: /"}`, "schema violation (path: should start with: /)"},
		{`{"host":"h","path":"/a//b"}`, `{"path":"must not have empty segments"}`,
			"schema violation (path: must not have empty segments)"},
		{`{"host":"h:80"}`, `{"host":"must not have a port"}`, "schema violation (host: must not have a port)"},
		{`{"host":""}`, `{"host":"length must be at least 1"}`, "schema violation (host: length must be at least 1)"},
		{`{"host":"h","tags":["a,b"]}`,
			"{\"tags\":[\"invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences\"]}",
			"schema violation (tags.1: invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences)"},
		{`{"host":"h","tags":["a",7,"b",null]}`, `{"tags":[null,"expected a string",null,"required field missing"]}`,
			"2 schema violations (tags.2: expected a string; tags.4: required field missing)"},
		{`{"host":"h","tags":"x"}`, `{"tags":"expected a set"}`, "schema violation (tags: expected a set)"},
		{`{"host":"h","ca_certificates":["x"]}`,
			`{"@entity":["failed conditional validation given value of field 'protocol'"],"ca_certificates":"value must be null"}`,
			"2 schema violations (failed conditional validation given value of field 'protocol'; ca_certificates: value must be null)"},
		{`{"url":"nope"}`, `{"host":"required field missing","path":"should start with: /"}`,
			"2 schema violations (host: required field missing; path: should start with: /)"},
		{`{"url":null}`,
			`{"host":"required field missing","path":"should start with: /","protocol":"` + protocols + `"}`,
			"3 schema violations (host: required field missing; path: should start with: /; protocol: " + protocols + ")"},
		{`{"url":""}`, `{"url":"length must be at least 1"}`, "schema violation (url: length must be at least 1)"},
		{`{"url":5}`, `{"url":"expected a string"}`, "schema violation (url: expected a string)"},
	})
	checkFormRejections(t, entities.Services(), []rejection{
		{`{"host":"h","port":"abc"}`, `{"port":"expected an integer"}`, "schema violation (port: expected an integer)"},
		{`{"host":""}`, `{"host":"required field missing"}`, "schema violation (host: required field missing)"},
		{`{"host":"h2","enabled":"yes"}`, `{"enabled":"expected a boolean"}`, "schema violation (enabled: expected a boolean)"},
		{`{"url":""}`,
			`{"host":"required field missing","path":"should start with: /","protocol":"` + protocols + `"}`,
			"3 schema violations (host: required field missing; path: should start with: /; protocol: " + protocols + ")"},
		{`{"url":"h.test:80"}`,
			`{"host":"required field missing","path":"should start with: /","protocol":"` + protocols + `"}`,
			"3 schema violations (host: required field missing; path: should start with: /; protocol: " + protocols + ")"},
	})
}

func TestRouteViolations(t *testing.T) {
	const (
		noneHTTPS  = "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"
		noneHTTP   = "must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'"
		noneGRPC   = "must set one of 'hosts', 'headers', 'paths' when 'protocols' is 'grpc'"
		noneStream = "must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp'"
		noSNIs     = "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"
	)
	checkRejections(t, entities.Routes(), []rejection{
		{`{}`, `{"@entity":["` + noneHTTPS + `"]}`, "schema violation (" + noneHTTPS + ")"},
		{`{"protocols":["http"]}`, `{"@entity":["` + noneHTTP + `"]}`, "schema violation (" + noneHTTP + ")"},
		{`{"protocols":["grpc"]}`, `{"@entity":["` + noneGRPC + `"]}`, "schema violation (" + noneGRPC + ")"},
		{`{"protocols":["tcp"]}`, `{"@entity":["` + noneStream + `"]}`, "schema violation (" + noneStream + ")"},
		{`{"protocols":["tls_passthrough"]}`, `{"@entity":["must set snis when 'protocols' is 'tls_passthrough'"]}`,
			"schema violation (must set snis when 'protocols' is 'tls_passthrough')"},
		{`{"protocols":["tcp"],"paths":["/x"]}`,
			`{"@entity":["` + noneStream + `"],"paths":"cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'"}`,
			"2 schema violations (" + noneStream + "; paths: cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp')"},
		{`{"protocols":["http"],"paths":["/"],"sources":[{"port":1}]}`,
			`{"sources":"cannot set 'sources' when 'protocols' is 'http' or 'https'"}`,
			"schema violation (sources: cannot set 'sources' when 'protocols' is 'http' or 'https')"},
		{`{"protocols":["http","tcp"],"paths":["/x"]}`,
			`{"protocols":"these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp')"}`,
			"schema violation (protocols: these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp'))"},
		{`{"protocols":["foo"],"paths":["/x"]}`, `{"protocols":"unknown type: foo"}`,
			"schema violation (protocols: unknown type: foo)"},
		{`{"protocols":null,"paths":["/x"]}`, `{"protocols":"required field missing"}`,
			"schema violation (protocols: required field missing)"},
		{`{"protocols":[],"paths":["/x"]}`, `{"protocols":"length must be at least 1"}`,
			"schema violation (protocols: length must be at least 1)"},
		{`{"protocols":5,"paths":["/x"]}`, `{"protocols":"expected a set"}`, "schema violation (protocols: expected a set)"},
		{`{"protocols":["grpc"],"paths":["/x"],"strip_path":true}`,
			`{"strip_path":"cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"}`,
			"schema violation (strip_path: cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs')"},
		{`{"paths":["/x"],"snis":["a.test"],"protocols":["http"]}`,
			`{"@entity":["` + noSNIs + `"],"snis":"length must be 0"}`,
			"2 schema violations (" + noSNIs + "; snis: length must be 0)"},
		{`{"headers":{"Host":["a"]},"paths":["/x"]}`,
			`{"headers":"cannot contain 'host' header, which must be specified in the 'hosts' attribute"}`,
			"schema violation (headers: cannot contain 'host' header, which must be specified in the 'hosts' attribute)"},
		{`{"headers":{"x-a":"1"},"paths":["/x"]}`, `{"headers":"expected an array"}`, "schema violation (headers: expected an array)"},
		{`{"headers":["x"],"paths":["/x"]}`, `{"headers":"expected a map"}`, "schema violation (headers: expected a map)"},
		{`{"sources":[{}],"protocols":["tcp"]}`,
			`{"sources":[{"@entity":["at least one of these fields must be non-empty: 'ip', 'port'"]}]}`,
			"schema violation (sources.1: {\n  [\"@entity\"] = {\n    \"at least one of these fields must be non-empty: 'ip', 'port'\"\n  }\n})"},
		{`{"sources":["x",{"ip":"1.2.3.4/33"}],"protocols":["udp"]}`,
			`{"sources":["expected a record",{"ip":"invalid ip or cidr range: '1.2.3.4/33'"}]}`,
			"2 schema violations (sources.1: expected a record; sources.2: {\n  ip = \"invalid ip or cidr range: '1.2.3.4/33'\"\n})"},
		{`{"paths":["/z"],"id":"not-uuid"}`, `{"id":"expected a valid UUID"}`, "schema violation (id: expected a valid UUID)"},
		{`{"paths":["/z"],"created_at":"x"}`, `{"created_at":"expected an integer"}`,
			"schema violation (created_at: expected an integer)"},
		{`{"paths":["/z"],"created_at":0}`, `{"created_at":"expected a valid timestamp"}`,
			"schema violation (created_at: expected a valid timestamp)"},
	})
	checkRejections(t, entities.Routes(), elementRejections())
	checkRejections(t, entities.Routes(), foreignRejections())
	checkFormRejections(t, entities.Routes(), []rejection{
		{`{"paths":["/q"],"service":"svc1"}`, `{"service":{"id":"missing primary key"}}`,
			"schema violation (service.id: missing primary key)"},
		{`{"paths":["/q"],"service":{"id":"svc1"}}`, `{"service":{"id":"expected a valid UUID"}}`,
			"schema violation (service.id: expected a valid UUID)"},
	})
}

// elementRejections are paths, methods and hosts that a route cannot have.
func elementRejections() []rejection {
	element := func(field, value, message string) rejection {
		return rejection{
			body:    `{"` + field + `":["` + value + `"]}`,
			fields:  `{"` + field + `":["` + message + `"]}`,
			message: "schema violation (" + field + ".1: " + message + ")",
		}
	}
	cases := []rejection{
		element("paths", "nope", "should start with: / (fixed path) or ~/ (regex path)"),
		element("paths", "//x", "must not have empty segments"),
		element("paths", "/a/../b", "non-normalized path, consider use '/b' instead"),
		element("paths", "/%61", "non-normalized path, consider use '/a' instead"),
		element("paths", "/%zz", "invalid url-encoded value: '%zz'"),
		element("hosts", "a.*.b", "invalid wildcard: must be placed at leftmost or rightmost label"),
		element("hosts", "*.b.*", "invalid wildcard: must have at most one wildcard"),
		element("hosts", "a b", "invalid hostname: a b"),
		element("snis", "a.test:1", "must not have a port"),
		element("snis", "1.2.3.4", "must not be an IP"),
	}
	methods := element("methods", "get", "invalid value: get")
	methods.body = `{"paths":["/"],"methods":["get"]}`
	return append(cases, methods, rejection{
		`{"paths":["~/(unclosed"]}`,
		`{"paths":["invalid regex: '/(unclosed' (PCRE returned: pcre_compile() failed: missing ) in \"/(unclosed\")"]}`,
		`schema violation (paths.1: invalid regex: '/(unclosed' (PCRE returned: pcre_compile() failed: missing ) in "/(unclosed"))`,
	})
}

func foreignRejections() []rejection {
	reject := func(service, message string) rejection {
		return rejection{
			`{"paths":["/x"],"service":` + service + `}`,
			`{"service":{"id":"` + message + `"}}`,
			"schema violation (service.id: " + message + ")",
		}
	}
	return []rejection{
		reject(`{"id":"bad"}`, "expected a valid UUID"),
		reject(`{"id":"bad","name":"svc1"}`, "expected a valid UUID"),
		reject(`{"id":""}`, "expected a valid UUID"),
		reject(`{"id":5}`, "expected a string"),
		reject(`{"id":null}`, "required field missing"),
		reject(`{}`, "missing primary key"),
		reject(`{"name":null}`, "missing primary key"),
		reject(`"svc1"`, "missing primary key"),
		reject(`7`, "missing primary key"),
	}
}

func TestConsumerAndCredentialViolations(t *testing.T) {
	const noName = "at least one of these fields must be non-empty: 'custom_id', 'username'"
	checkRejections(t, entities.Consumers(), []rejection{
		{`{}`, `{"@entity":["` + noName + `"]}`, "schema violation (" + noName + ")"},
		{`{"username":"","custom_id":"x"}`, `{"username":"length must be at least 1"}`,
			"schema violation (username: length must be at least 1)"},
	})
	const (
		algorithms  = "expected one of: HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512, EdDSA"
		conditional = "failed conditional validation given value of field 'algorithm'"
		owner       = `"consumer":{"id":"` + someID + `"}`
	)
	checkRejections(t, entities.JWTSecrets(), []rejection{
		{`{"key":"x"}`, `{"consumer":"required field missing"}`, "schema violation (consumer: required field missing)"},
		{`{` + owner + `,"algorithm":"XX"}`, `{"algorithm":"` + algorithms + `"}`, "schema violation (algorithm: " + algorithms + ")"},
		{`{` + owner + `,"algorithm":"RS256"}`, `{"@entity":["` + conditional + `"],"rsa_public_key":"required field missing"}`,
			"2 schema violations (" + conditional + "; rsa_public_key: required field missing)"},
		{`{` + owner + `,"algorithm":"EdDSA","rsa_public_key":"x"}`, `{"@entity":["` + conditional + `"],"rsa_public_key":"invalid key"}`,
			"2 schema violations (" + conditional + "; rsa_public_key: invalid key)"},
	})
	const ttl = "must be an integer between 0 and 100000000"
	checkRejections(t, entities.KeyauthCredentials(), []rejection{
		{`{` + owner + `,"ttl":-1}`, `{"ttl":"` + ttl + `"}`, "invalid option (ttl: " + ttl + ")"},
		{`{"foo":1,"ttl":100000001}`, `{"ttl":"` + ttl + `"}`, "invalid option (ttl: " + ttl + ")"},
		{`{` + owner + `,"ttl":"x"}`, `{"ttl":"` + ttl + `"}`, "invalid option (ttl: " + ttl + ")"},
		{`{` + owner + `,"ttl":1.5}`, `{"ttl":"` + ttl + `"}`, "invalid option (ttl: " + ttl + ")"},
	})
}

func TestPluginViolations(t *testing.T) {
	const (
		noLimit = "at least one of these fields must be non-empty: 'config.second', 'config.minute', 'config.hour', " +
			"'config.day', 'config.month', 'config.year'"
		order  = "The limit for hour(2.0) cannot be lower than the limit for minute(5.0)"
		policy = "failed conditional validation given value of field 'config.policy'"
		groups = "exactly one of these fields must be non-empty: 'config.allow', 'config.deny'"
	)
	limit := func(config string) string { return `{"name":"rate-limiting","config":{` + config + `}}` }
	checkRejections(t, plugins(), []rejection{
		{`{}`, `{"name":"required field missing"}`, "schema violation (name: required field missing)"},
		{`{"config":{"minute":1}}`, `{"name":"required field missing"}`, "schema violation (name: required field missing)"},
		{`{"name":"nope"}`, `{"name":"plugin 'nope' not enabled; add it to the 'plugins' configuration property"}`,
			"schema violation (name: plugin 'nope' not enabled; add it to the 'plugins' configuration property)"},
		{`{"name":7}`, `{"name":"expected a string"}`, "schema violation (name: expected a string)"},
		{`{"name":"rate-limiting"}`, `{"@entity":["` + noLimit + `"]}`, "schema violation (" + noLimit + ")"},
		{`{"name":"rate-limiting","config":null}`, `{"config":"required field missing"}`,
			"schema violation (config: required field missing)"},
		{`{"name":"rate-limiting","config":"x"}`, `{"config":"expected a record"}`, "schema violation (config: expected a record)"},
		{limit(`"minute":5,"hour":2`), `{"config":"` + order + `"}`, "schema violation (config: " + order + ")"},
		{limit(`"minute":5,"hour":2,"policy":"redis"`), `{"config":"` + order + `"}`, "schema violation (config: " + order + ")"},
		{limit(`"minute":"5"`), `{"config":{"minute":"expected a number"}}`, "schema violation (config.minute: expected a number)"},
		{limit(`"minute":0`), `{"config":{"minute":"value must be greater than 0"}}`,
			"schema violation (config.minute: value must be greater than 0)"},
		{limit(`"minute":5,"redis":{"port":70000,"host":"h:1"}`),
			`{"config":{"redis":{"port":"value should be between 0 and 65535","host":"must not have a port"}}}`,
			"schema violation (config.redis: {\n  host = \"must not have a port\",\n  port = \"value should be between 0 and 65535\"\n})"},
		{limit(`"minute":5,"redis_port":"x"`), `{"config":{"redis_port":"expected an integer"}}`,
			"schema violation (config.redis_port: expected an integer)"},
		{limit(`"minute":5,"redis_host":"a","redis":{"host":"b"}`),
			`{"config":{"redis_host":"both deprecated and new field are used but their values mismatch: redis_host = a vs redis.host = b"}}`,
			"schema violation (config.redis_host: both deprecated and new field are used but their values mismatch: redis_host = a vs redis.host = b)"},
		{`{"name":"jwt","consumer":{"username":"bob"}}`, `{"consumer":"value must be null"}`,
			"schema violation (consumer: value must be null)"},
		{`{"name":"jwt","config":{"maximum_expiration":5,"claims_to_verify":["nbf"]}}`,
			`{"@entity":["failed conditional validation given value of field 'config.maximum_expiration'"],` +
				`"config":{"claims_to_verify":"expected to contain: exp"}}`,
			"2 schema violations (failed conditional validation given value of field 'config.maximum_expiration'; " +
				"config.claims_to_verify: expected to contain: exp)"},
	})
	checkFormRejections(t, plugins(), []rejection{
		{`{"name":"rate-limiting","config":{"minute":"abc"}}`, `{"config":{"minute":"expected a number"}}`,
			"schema violation (config.minute: expected a number)"},
		{`{"name":"rate-limiting","config":{"minute":"5","foo":"1"}}`, `{"config":{"foo":"unknown field"}}`,
			"schema violation (config.foo: unknown field)"},
		{`{"name":"rate-limiting","config":{"minute":"5","policy":"redis"}}`,
			`{"@entity":["` + policy + `"],"config":{"redis":{"host":"required field missing"}}}`,
			"2 schema violations (" + policy + "; config.redis: {\n  host = \"required field missing\"\n})"},
		{`{"name":"rate-limiting","config":{"minute":"5","policy":"magic"}}`,
			`{"config":{"policy":"expected one of: local, cluster, redis"}}`,
			"schema violation (config.policy: expected one of: local, cluster, redis)"},
		{`{"name":"acl","config":{"allow":["g1"],"deny":["g2"]}}`, `{"@entity":["` + groups + `"]}`,
			"schema violation (" + groups + ")"},
		{`{"name":"jwt","config":{"claims_to_verify":"exp,nbf"}}`,
			`{"config":{"claims_to_verify":["expected one of: exp, nbf"]}}`,
			"schema violation (config.claims_to_verify: {\n  \"expected one of: exp, nbf\"\n})"},
	})
}
