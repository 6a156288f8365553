package schema

// Fields that many schemas share. Each call returns a new value, whose further attributes the caller sets:
//
//	host := schema.Host("host")
//	host.Required = true
//
// Kong publishes "len_min": 1 for some strings and not for others, without a difference in meaning; set
// LenMin where the published schema has it.

// Protocols that routes, services and plugins know, in Kong's order.
func Protocols() []string {
	return []string{"grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"}
}

// HTTPProtocols are those of requests, as against streams.
func HTTPProtocols() []string { return Protocols()[:4] }

// ID is the primary key of every entity.
func ID() Field {
	return Field{Name: "id", Type: String, UUID: true, Auto: true, LenMin: new(1)}
}

// CreatedAt is the Unix time in seconds at which an entity was created.
func CreatedAt() Field {
	return Field{Name: "created_at", Type: Integer, Timestamp: true, Auto: true}
}

// UpdatedAt is the Unix time in seconds at which an entity was last changed.
func UpdatedAt() Field {
	return Field{Name: "updated_at", Type: Integer, Timestamp: true, Auto: true}
}

// Tags is the set of strings by which lists can be filtered.
func Tags() Field {
	return Field{Name: "tags", Type: Set, Elements: &Field{Type: String, Required: true, Custom: Text(ValidTag)}}
}

// UTF8Name is a unique name.
func UTF8Name(name string) Field {
	return Field{Name: name, Type: String, Unique: true, LenMin: new(1), Custom: Text(ValidUTF8Name)}
}

// Host is a host name or an IP address without a port.
func Host(name string) Field {
	return Field{Name: name, Type: String, Custom: Text(ValidHost)}
}

// SNI is a host name without a port.
func SNI(name string) Field {
	return Field{Name: name, Type: String, Custom: Text(ValidSNI)}
}

// Port is a port number, 0 included.
func Port(name string) Field {
	return Field{Name: name, Type: Integer, Between: &[2]float64{0, 65535}}
}

// Timeout is a time in milliseconds.
func Timeout(name string) Field {
	return Field{Name: name, Type: Integer, Between: &[2]float64{0, 1<<31 - 2}}
}

// Path is an absolute path without empty segments.
func Path(name string) Field {
	return Field{
		Name: name, Type: String, StartsWith: "/",
		MatchNone: []Pattern{{Pattern: "//", Err: "must not have empty segments"}},
		Custom:    Text(ValidPath),
	}
}

// URL is anything with a scheme and a host.
func URL(name string) Field {
	return Field{Name: name, Type: String, Custom: Text(ValidURL)}
}

// HeaderName is the name of a header.
func HeaderName(name string) Field {
	return Field{Name: name, Type: String, Custom: Text(ValidHeaderName)}
}

// ProtocolsHTTP is the field "protocols" of a plugin that works on requests only.
func ProtocolsHTTP() Field {
	return Field{
		Name: "protocols", Type: Set, Required: true, Default: Strings(HTTPProtocols()...),
		Elements: &Field{Type: String, Required: true, LenMin: new(1), OneOf: Strings(HTTPProtocols()...)},
	}
}

// NoConsumer is the field "consumer" of a plugin that cannot be bound to one.
func NoConsumer() Field {
	return Field{Name: "consumer", Type: Foreign, Reference: "consumers", Eq: Null}
}
