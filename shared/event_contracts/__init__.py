"""Released event schemas: what each event looked like in every version, and whether all of them can still be read.

Owns: JSON Schemas and Avro schemas made from the services' classes, docs/schemas, the rules of compatibility, and the
AsyncAPI document. Must not know: any particular event; a broker or a database.
"""
