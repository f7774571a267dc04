//! The products, and what the world does with all of them.

use crate::ceph::MicroCeph;
use crate::lxd::LxdProduct;
use crate::microcluster::MicroCloud;
use crate::ovn::MicroOvn;
use crate::product::Product;
use crate::world::World;

impl World {
    /// All products, in the order in which their daemons start at boot.
    pub(crate) const PRODUCTS: [&'static dyn Product; 4] =
        [&MicroCeph, &MicroOvn, &LxdProduct, &MicroCloud];

    /// The product of this snap.
    pub(crate) fn product(snap: &str) -> Option<&'static dyn Product> {
        Self::PRODUCTS
            .into_iter()
            .find(|product| product.snap() == snap)
    }

    /// The snap that a program is of, and the app's name there. Some are called by an alias.
    pub(crate) fn app(program: &str) -> Option<(&'static str, &str)> {
        let (snap, name) = program.split_once('.').unwrap_or((program, program));
        let is_of =
            |product: &&dyn Product| product.snap() == snap || product.aliases().contains(&snap);
        let product = Self::PRODUCTS.into_iter().find(is_of)?;
        Some((product.snap(), name))
    }

    /// The services of a snap stop on a member, because it is refreshed.
    pub(crate) fn services_stop(&mut self, member: &str, snap: &str) {
        self.rules_on_stop(member, snap);
        self.faults_on_stop(member, snap);
        self.daemons_stop(member, snap);
    }

    /// The daemons of a snap end on a member, whatever ended them.
    pub(crate) fn daemons_stop(&mut self, member: &str, snap: &str) {
        if let Some(product) = Self::product(snap) {
            product.stop(self, member);
        }
    }

    /// The services of a snap start on a member, in the revision that is linked now.
    pub(crate) fn services_start(&mut self, member: &str, snap: &str) {
        if self.faults.no_return(member, snap) {
            return;
        }
        if let Some(product) = Self::product(snap) {
            product.start(self, member);
        }
    }

    /// Whether the daemons of a snap are down on a member.
    pub(crate) fn is_down(&self, member: &str, snap: &str) -> bool {
        Self::product(snap).is_some_and(|product| product.is_down(self, member))
    }
}
