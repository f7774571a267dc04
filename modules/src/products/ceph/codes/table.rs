//! Every health code of Ceph's reef, squid and tentacle: what it means for a refresh, and why.
//!
//! The meanings follow Ceph's page of health checks (`doc/rados/operations/health-checks.rst`) and the file that raises
//! the code, which `names.tsv` has for each: a test keeps the two complete.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a code means for a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It comes with a refreshed member and goes away again: wait for that.
    Passing,
    /// About data: under it nothing may be taken down.
    Data,
    /// It comes with an upgrade, or tells of what is judged by itself: no reason to stop.
    Expected,
    /// Not about data: no reason to stop where it was raised before.
    Standing,
    /// Not known. Judged by its severity: an error as `data`, a warning as `standing`.
    Unknown,
}

/// A class, and its codes with what each says.
pub(super) type Row = (Class, &'static [(&'static str, &'static str)]);

pub(super) const TABLE: &[Row] = &[
    (Class::Passing, PASSING),
    (Class::Data, DATA),
    (Class::Expected, EXPECTED),
    (Class::Standing, STANDING),
];

const STALLED: &str = "a disk answered reads late";
const DOWN: &str = "all OSDs of a part of the cluster are down";
const CLIENTS: &str = "clients of a file system are slow or silent";
const CEPHADM: &str = "of a manager module that MicroCeph doesn't use";
const STRETCH: &str = "about a cluster that is stretched over two sites";
const TUNING: &str = "placement groups or a pool's settings could be better";
/// What monitors from 19.2.6 and 20.2.4 on say of keys that are there since long (`src/mon/AuthMonitor.cc`).
pub(super) const KEYS: &str =
    "about kinds of keys: Ceph reports it from 19.2.6 and 20.2.4 on (CVE-2025-30156)";

/// A row is a code and what it says.
macro_rules! codes {
    ($($code:ident: $about:expr;)+) => {
        &[$((stringify!($code), $about)),+]
    };
}

/// It comes with a refreshed member and goes away again.
const PASSING: &[(&str, &str)] = codes! {
    FS_DEGRADED: "a file system waits for a metadata server";
    FS_WITH_FAILED_MDS: "a file system waits for a metadata server";
    MDS_ESTIMATED_REPLAY_TIME: "a metadata server reads its journal";
    MDS_INSUFFICIENT_STANDBY: "too few metadata servers stand by";
    MDS_SLOW_METADATA_IO: "metadata is written slowly";
    MDS_UP_LESS_THAN_MAX: "a metadata server is missing";
    MGR_DOWN: "no manager is active";
    MON_DOWN: "a monitor is out of quorum";
    MON_NETSPLIT: "monitors don't reach each other";
    NVMEOF_GATEWAY_DOWN: "a gateway is down";
    OBJECT_MISPLACED: "objects are on their way";
    OSD_CHASSIS_DOWN: DOWN;
    OSD_DATACENTER_DOWN: DOWN;
    OSD_DOWN: "OSDs are down";
    OSD_HOST_DOWN: DOWN;
    OSD_PDU_DOWN: DOWN;
    OSD_POD_DOWN: DOWN;
    OSD_RACK_DOWN: DOWN;
    OSD_REGION_DOWN: DOWN;
    OSD_ROOM_DOWN: DOWN;
    OSD_ROOT_DOWN: DOWN;
    OSD_ROW_DOWN: DOWN;
    OSD_ZONE_DOWN: DOWN;
    PENDING_CREATING_PGS: "placement groups are being made";
    PG_AVAILABILITY: "data can't be reached";
    PG_DEGRADED: "copies of data are missing";
    RECOVERING_STRETCH_MODE: STRETCH;
    REQUEST_SLOW: "requests are not answered in time";
    REQUEST_STUCK: "requests are not answered";
    SLOW_OPS: "requests are not answered in time";
    TOO_FEW_OSDS: "fewer OSDs than a pool has copies";
};

/// Data is damaged, can't be written or may soon not be, or monitors may lose their quorum.
const DATA: &[(&str, &str)] = codes! {
    DEGRADED_STRETCH_MODE: "a site of a stretched cluster is away";
    MDS_ALL_DOWN: "a file system has no metadata server";
    MDS_DAMAGE: "metadata of a file system is damaged";
    MDS_READ_ONLY: "a metadata server can't write";
    MON_CLOCK_SKEW: "monitors' clocks are apart: they may lose their quorum";
    MON_DISK_CRIT: "a monitor's disk is all but full";
    OBJECT_UNFOUND: "objects are lost unless an OSD comes back";
    OSD_BACKFILLFULL: "an OSD is too full to take data over";
    OSD_FULL: "an OSD is full: nothing is written";
    OSD_NEARFULL: "an OSD is all but full";
    OSD_SCRUB_ERRORS: "copies of data differ";
    PG_BACKFILL_FULL: "no room for data to be moved";
    PG_DAMAGED: "copies of data are damaged";
    PG_RECOVERY_FULL: "no room for data to be restored";
    POOL_BACKFILLFULL: "a pool is too full to move its data";
    POOL_FULL: "a pool is full";
};

/// It comes with an upgrade, or tells of what is judged by itself: flags, and scrubs, which are late while others restart.
const EXPECTED: &[(&str, &str)] = codes! {
    AUTH_EMERGENCY_CIPHERS_SET: KEYS;
    AUTH_INSECURE_CLIENT_KEY_TYPE: KEYS;
    AUTH_INSECURE_GLOBAL_ID_RECLAIM: "clients with an old way to connect (CVE-2021-20288)";
    AUTH_INSECURE_GLOBAL_ID_RECLAIM_ALLOWED: "an old way to connect is allowed (CVE-2021-20288)";
    AUTH_INSECURE_KEYS_ALLOWED: KEYS;
    AUTH_INSECURE_KEYS_CREATABLE: KEYS;
    AUTH_INSECURE_ROTATING_SERVICE_KEY_TYPE: KEYS;
    AUTH_INSECURE_SERVICE_KEY_TYPE: KEYS;
    AUTH_INSECURE_SERVICE_TICKETS: KEYS;
    BLUESTORE_LEGACY_STATFS: "OSDs that an older release made";
    BLUESTORE_NO_PER_PG_OMAP: "OSDs that an older release made";
    BLUESTORE_NO_PER_POOL_OMAP: "OSDs that an older release made";
    DAEMON_OLD_VERSION: "daemons of two releases run side by side";
    OSDMAP_FLAGS: "flags of the whole cluster are set";
    OSD_FLAGS: "flags of hosts or OSDs are set";
    OSD_UPGRADE_FINISHED: "the OSDs' release isn't required yet";
    PG_NOT_DEEP_SCRUBBED: "scrubs are late";
    PG_NOT_SCRUBBED: "scrubs are late";
    TELEMETRY_CHANGED: "a new release would report more, and asks";
};

/// Not about data: no reason to stop where it was raised before.
const STANDING: &[(&str, &str)] = codes! {
    ALERTS_SMTP_ERROR: "mails about health can't be sent";
    AUTH_BAD_CAPS: "what a key may do can't be read";
    BLOCK_DEVICE_STALLED_READ_ALERT: STALLED;
    BLUEFS_AVAILABLE_SPACE: "how much room an OSD's database has";
    BLUEFS_LOW_SPACE: "an OSD's database has little room";
    BLUEFS_SPILLOVER: "an OSD's database lies on the slow disk";
    BLUESTORE_DISK_SIZE_MISMATCH: "an OSD's disk has another size than it was made with";
    BLUESTORE_FRAGMENTATION: "an OSD's free room is in pieces";
    BLUESTORE_FREE_FRAGMENTATION: "an OSD's free room is in pieces";
    BLUESTORE_NO_COMPRESSION: "an OSD can't load its compression";
    BLUESTORE_SLOW_OP_ALERT: "an OSD's disk was slow";
    BLUESTORE_SPURIOUS_READ_ERRORS: "reads from an OSD's disk had to be tried again";
    CACHE_POOL_NEAR_FULL: "a cache pool is all but full";
    CACHE_POOL_NO_HIT_SET: "a cache pool has no statistics";
    CEPHADM_AGENT_DOWN: CEPHADM;
    CEPHADM_APPLY_SPEC_FAIL: CEPHADM;
    CEPHADM_CERT_ERROR: CEPHADM;
    CEPHADM_CHECK_CEPH_RELEASE: CEPHADM;
    CEPHADM_CHECK_KERNEL_LSM: CEPHADM;
    CEPHADM_CHECK_KERNEL_VERSION: CEPHADM;
    CEPHADM_CHECK_LINKSPEED: CEPHADM;
    CEPHADM_CHECK_MTU: CEPHADM;
    CEPHADM_CHECK_NETWORK_MISSING: CEPHADM;
    CEPHADM_CHECK_PUBLIC_MEMBERSHIP: CEPHADM;
    CEPHADM_CHECK_SUBSCRIPTION: CEPHADM;
    CEPHADM_DAEMON_PLACE_FAIL: CEPHADM;
    CEPHADM_FAILED_DAEMON: CEPHADM;
    CEPHADM_FAILED_SET_OPTION: CEPHADM;
    CEPHADM_HOST_CHECK_FAILED: CEPHADM;
    CEPHADM_INVALID_CONFIG_OPTION: CEPHADM;
    CEPHADM_PAUSED: CEPHADM;
    CEPHADM_REFRESH_FAILED: CEPHADM;
    CEPHADM_RGW: CEPHADM;
    CEPHADM_STRAY_DAEMON: CEPHADM;
    CEPHADM_STRAY_HOST: CEPHADM;
    DASHBOARD_DEBUG: "the dashboard tells more than it should";
    DB_DEVICE_STALLED_READ_ALERT: STALLED;
    DEVICE_FAULT_ON: "a disk's fault light is on";
    DEVICE_HEALTH: "a disk is expected to fail";
    DEVICE_HEALTH_IN_USE: "a disk that is expected to fail has data";
    DEVICE_HEALTH_TOOMANY: "too many disks are expected to fail";
    DEVICE_IDENT_ON: "a disk's light is on";
    EXTBLKDEV: "an OSD's disk says something of itself";
    FS_INLINE_DATA_DEPRECATED: "a file system uses what will go away";
    HOST_IN_MAINTENANCE: CEPHADM;
    INCORRECT_NUM_BUCKETS_STRETCH_MODE: STRETCH;
    LARGE_OMAP_OBJECTS: "an object has too many keys";
    MANY_OBJECTS_PER_PG: TUNING;
    MDS_CACHE_OVERSIZED: "a metadata server needs more memory than it should";
    MDS_CLIENTS_BROKEN_ROOTSQUASH: "clients may write what root_squash should deny";
    MDS_CLIENTS_LAGGY: CLIENTS;
    MDS_CLIENTS_LAGGY_MANY: CLIENTS;
    MDS_CLIENT_LATE_RELEASE: CLIENTS;
    MDS_CLIENT_LATE_RELEASE_MANY: CLIENTS;
    MDS_CLIENT_OLDEST_TID: CLIENTS;
    MDS_CLIENT_OLDEST_TID_MANY: CLIENTS;
    MDS_CLIENT_RECALL: CLIENTS;
    MDS_CLIENT_RECALL_MANY: CLIENTS;
    MDS_SLOW_REQUEST: "a metadata server answers late";
    MDS_TRIM: "a metadata server's journal is long";
    MGR_INFLUX_DB_LIST_FAILED: "figures can't be sent to InfluxDB";
    MGR_INFLUX_NO_SERVER: "figures can't be sent to InfluxDB";
    MGR_INFLUX_QUEUE_FULL: "figures can't be sent to InfluxDB";
    MGR_INFLUX_SEND_FAILED: "figures can't be sent to InfluxDB";
    MGR_INSIGHTS_WARNING: "raised by hand, to try something";
    MGR_MODULE_DEPENDENCY: "a module of the manager lacks what it needs";
    MGR_MODULE_ERROR: "a module of the manager has failed";
    MGR_ZABBIX_NO_SERVER: "figures can't be sent to Zabbix";
    MGR_ZABBIX_SEND_FAILED: "figures can't be sent to Zabbix";
    MON_DISK_BIG: "a monitor's database is large";
    MON_DISK_LOW: "a monitor's disk fills up";
    MON_LOCATION_NOT_SET: STRETCH;
    MON_MSGR2_NOT_ENABLED: "monitors don't speak the newer protocol";
    MULTIMDS_WITH_OLDSNAPS: "a file system has old snapshots and several metadata servers";
    NONEXISTENT_MON_CRUSH_LOC_STRETCH_MODE: STRETCH;
    NVMEOF_GATEWAY_DELETING: "a gateway is being deleted";
    NVMEOF_SINGLE_GATEWAY: "a group has one gateway only";
    OLD_CRUSH_STRAW_CALC_VERSION: "data is placed in an older way";
    OLD_CRUSH_TUNABLES: "data is placed in an older way";
    OSD_FILESTORE: "OSDs of a kind that went away";
    OSD_NO_DOWN_OUT_INTERVAL: "OSDs that are down stay in for ever";
    OSD_NO_SORTBITWISE: "a flag of very old releases isn't set";
    OSD_ORPHAN: "the map has an OSD that doesn't exist";
    OSD_OUT_OF_ORDER_FULL: "the limits for full OSDs are in no order";
    OSD_SLOW_PING_TIME_BACK: "OSDs answer each other late";
    OSD_SLOW_PING_TIME_FRONT: "OSDs answer each other late";
    OSD_TOO_MANY_REPAIRS: "an OSD had to repair many reads";
    OSD_UNREACHABLE: "an OSD's address is outside of public_network";
    PG_SLOW_SNAP_TRIMMING: "old snapshots are deleted slowly";
    POOL_APP_NOT_ENABLED: TUNING;
    POOL_HAS_TARGET_SIZE_BYTES_AND_RATIO: TUNING;
    POOL_NEARFULL: "a pool is all but full";
    POOL_NEAR_FULL: "a pool has all but used up its quota";
    POOL_NO_REDUNDANCY: "a pool has one copy of its data only";
    POOL_PG_NUM_NOT_POWER_OF_TWO: TUNING;
    POOL_SCRUB_FLAGS: "scrubs of a pool are switched off";
    POOL_TARGET_SIZE_BYTES_OVERCOMMITTED: TUNING;
    POOL_TOO_FEW_PGS: TUNING;
    POOL_TOO_MANY_PGS: TUNING;
    RECENT_CRASH: "a daemon crashed, and nobody has looked at it";
    RECENT_MGR_MODULE_CRASH: "a module of the manager crashed, and nobody has looked at it";
    SMALLER_PGP_NUM: TUNING;
    STRETCH_MODE_BUCKET_WEIGHT_IMBALANCE: STRETCH;
    TOO_FEW_PGS: TUNING;
    TOO_MANY_PGS: TUNING;
    UNEVEN_WEIGHTS_STRETCH_MODE: STRETCH;
    UPGRADE_BAD_TARGET_VERSION: CEPHADM;
    UPGRADE_EXCEPTION: CEPHADM;
    UPGRADE_FAILED_PULL: CEPHADM;
    UPGRADE_KEY_ROTATION: CEPHADM;
    UPGRADE_NO_STANDBY_MGR: CEPHADM;
    UPGRADE_OFFLINE_HOST: CEPHADM;
    UPGRADE_REDEPLOY_DAEMON: CEPHADM;
    WAL_DEVICE_STALLED_READ_ALERT: STALLED;
};
